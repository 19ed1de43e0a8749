// Brings rows, drafts, list and field together.

const rows = read("data");
const facts = read("facts");
const drafts = new Drafts(facts.artifact);
const list = new List(byId("list"), rows, drafts, choose);
const field = byId("edit");
let chosen = 0;
let skippedAtOnce = [];

function choose(n) {
  chosen = n;
  list.choose(n);
  const row = rows[n];
  show(byId("question"), row.question);
  show(byId("gold"), row.gold);
  show(byId("reason"), row.previous ? `Your edit was not accepted: ${row.reason}` : "");
  field.value = toField(drafts.text(row));
  byId("detail").scrollTop = 0;
  drawEdit();
}

function drawEdit() {
  const row = rows[chosen];
  const draft = drafts.of(row);
  const text = drafts.text(row);
  const runs = difference(row.response, text);
  const tags = { same: "span", old: "del", new: "ins" };
  byId("difference").replaceChildren(...runs.map((run) => element(tags[run.kind], "", run.text)));
  const changed = runs.some((run) => run.kind !== "same");
  const words = (100 * shareOfNew(runs)).toFixed(0);
  const limit = `at most ${(100 * facts.gamma).toFixed(0)} % of the tokens may be`;
  show(byId("measure"), !text.trim() ? "An empty text is no edit." : changed ? `${words} % of the words are new; ${limit}` : "");
  show(byId("place"), `${chosen + 1} of ${rows.length} · ${row.id}/${row.sample} · ${drafts.state(row)}`);
  byId("skip").textContent = draft.skip ? "do not skip (s)" : "skip (s)";
  byId("reset").disabled = text === row.response;
  field.readOnly = Boolean(draft.skip);
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 4}px`;
  list.update(chosen);
  drawCount();
}

function counted(state) {
  return rows.filter((row) => drafts.state(row) === state).length;
}

function drawCount() {
  const [edited, skipped] = [counted(EDITED), counted(SKIPPED)];
  byId("bar").max = rows.length;
  byId("bar").value = edited + skipped;
  const kept = drafts.kept ? "" : " · this browser does not keep your edits: save them often";
  show(byId("count"), `${edited} edited, ${skipped} skipped, ${rows.length - edited - skipped} open of ${rows.length}${kept}`);
  byId("count").classList.toggle("warning", !drafts.kept);
  byId("rest").disabled = rows.length === edited + skipped && !skippedAtOnce.length;
}

function change(changed) {
  drafts.change(rows[chosen], changed);
  drawEdit();
}

function go(n) {
  if (n === null) {
    show(byId("note"), "Nothing that is shown is open any more. Save edits.jsonl when you are done.");
  } else if (n !== undefined) {
    choose(n);
  }
}

function onward() {
  go(list.nextOpen(chosen));
  field.focus({ preventScroll: true });
}

function skip() {
  change({ skip: !drafts.of(rows[chosen]).skip });
}

function save() {
  const lines = drafts.file(rows);
  if (!lines) {
    show(byId("note"), "Nothing is edited or skipped yet: there is nothing to save.");
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines], { type: "application/jsonl" }));
  link.download = "edits.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  drafts.saved = true;
  show(
    byId("note"),
    `edits.jsonl with ${counted(EDITED)} edited and ${counted(SKIPPED)} skipped is in your downloads: move it to ${facts.folder} and resume the run.`,
  );
}

function askAll() {
  show(byId("left"), `${counted(OPEN)} of ${rows.length} are open.`);
  byId("skipall").disabled = !counted(OPEN);
  byId("takeback").textContent = `take back the ${skippedAtOnce.length} skipped at once`;
  byId("takeback").hidden = !skippedAtOnce.length;
  byId("all").showModal();
}

function skipAll(skip) {
  const concerned = skip ? rows.filter((row) => drafts.state(row) === OPEN) : skippedAtOnce;
  for (const row of concerned) drafts.change(row, { skip });
  skippedAtOnce = skip ? [...skippedAtOnce, ...concerned] : [];
  rows.forEach((_, n) => list.update(n));
  byId("all").close();
  choose(chosen);
}

function filter() {
  list.filter(byId("search").value, byId("show").value);
}

function drawTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "light" : "dark";
}

const KEYS = {
  j: () => go(list.beside(chosen, 1)),
  ArrowDown: () => go(list.beside(chosen, 1)),
  k: () => go(list.beside(chosen, -1)),
  ArrowUp: () => go(list.beside(chosen, -1)),
  n: () => go(list.nextOpen(chosen)),
  e: () => field.focus(),
  Enter: () => field.focus(),
  s: skip,
  "/": () => byId("search").focus(),
  t: () => byId("theme").click(),
  "?": () => byId("about").showModal(),
};

document.addEventListener("keydown", (event) => {
  const modified = event.ctrlKey || event.metaKey;
  let act = null;
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  if (modified && event.key === "Enter") act = onward;
  else if (modified && event.key.toLowerCase() === "s") act = save;
  else if (event.altKey && KEYS[event.key] && event.key.startsWith("Arrow")) act = KEYS[event.key];
  else if (event.key === "Escape") act = () => byId("list").focus();
  else if (!modified && !event.altKey && !event.target.closest("input, select, textarea, button")) act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

field.addEventListener("input", () => change({ text: fromField(field.value) }));
byId("next").addEventListener("click", onward);
byId("onward").addEventListener("click", onward);
byId("skip").addEventListener("click", skip);
byId("save").addEventListener("click", save);
byId("rest").addEventListener("click", askAll);
byId("skipall").addEventListener("click", () => skipAll(true));
byId("takeback").addEventListener("click", () => skipAll(false));
byId("help").addEventListener("click", () => byId("about").showModal());
byId("theme").addEventListener("click", () => drawTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("search").addEventListener("input", filter);
byId("show").addEventListener("change", filter);
byId("reset").addEventListener("click", () => {
  change({ text: rows[chosen].response });
  field.value = toField(rows[chosen].response);
  drawEdit();
});
for (const button of document.querySelectorAll("dialog .close"))
  button.addEventListener("click", () => button.closest("dialog").close());
window.addEventListener("beforeunload", (event) => {
  if (!drafts.kept && !drafts.saved) event.preventDefault();
});
window.addEventListener("resize", drawEdit);

for (const kind of KINDS) byId("show").append(new Option(kind));
show(byId("folder"), facts.folder);
drawTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
choose(rows.findIndex((row) => drafts.state(row) === OPEN) === -1 ? 0 : rows.findIndex((row) => drafts.state(row) === OPEN));
