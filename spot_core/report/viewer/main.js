// Reads the rows, fills the filters, and listens to mouse and keys.

const entries = read("data");
const about = read("facts");
const formulas = { pattern: new RegExp(about.formula, "gsu"), known: new Map(read("formulas")) };
for (const id of ["data", "formulas"]) byId(id).remove(); // their texts would stay in memory a second time
const view = { mode: "two", formulas, theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" };
let chosen = null;
let marking = 0;

const list = new List(byId("list"), (entry) => {
  if (entry === chosen) return;
  chosen = entry;
  clearTimeout(marking);
  // Not as a new page: nobody wants to go back through every entry that was looked at.
  marking = setTimeout(() => location.replace(entry ? `#${entries.indexOf(entry)}` : "#"), 300);
  drawEntry(byId("detail"), chosen, view);
});

function fillFilter(id, words) {
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const options = [...counts].sort((a, b) => b[1] - a[1]);
  byId(id).append(new Option("all", ""));
  for (const [word, count] of options) byId(id).append(new Option(`${spelledOut(word)} (${count.toLocaleString("en")})`, word));
}

function wanted() {
  const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  return {
    search: byId("search").value.toLowerCase(),
    status: byId("status").value,
    oracle: byId("oracle").value,
    flag: byId("flag").value,
    least: number("least"),
    most: number("most"),
    order: byId("order").value,
  };
}

function refresh() {
  const found = selection(entries, wanted());
  const count = (number) => number.toLocaleString("en");
  const rest = about.rows - about.shown;
  byId("about").replaceChildren();
  addText(
    byId("about"),
    `${count(found.length)} of ${count(about.shown)} failures · γ = ${about.gamma} · ${about.artifact}` +
      (rest ? ` · ${count(rest)} more are not in this page: they are in the artifact` : "") +
      (about.all_formulas ? "" : " · too many formulas: some are shown as they are written"),
  );
  list.show(found, chosen);
}

function redraw() {
  byId("mode").textContent = view.mode === "two" ? "side by side (d)" : "in one text (d)";
  byId("math").textContent = view.formulas ? "formulas readable (m)" : "text as it is (m)";
  byId("theme").textContent = `${view.theme} (t)`;
  document.documentElement.dataset.theme = view.theme;
  drawEntry(byId("detail"), chosen, view);
}

function goToChange(step) {
  const changes = [...byId("detail").querySelectorAll("del, ins")];
  if (!changes.length) return;
  const at = changes.findIndex((node) => node.classList.contains("here"));
  const next = at < 0 ? (step > 0 ? 0 : changes.length - 1) : (at + step + changes.length) % changes.length;
  if (at >= 0) changes[at].classList.remove("here");
  changes[next].classList.add("here");
  changes[next].scrollIntoView({ block: "center" });
}

const ACTIONS = {
  d: () => { view.mode = view.mode === "two" ? "one" : "two"; redraw(); },
  m: () => { view.formulas = view.formulas ? null : formulas; redraw(); },
  t: () => { view.theme = view.theme === "dark" ? "light" : "dark"; redraw(); },
  j: () => list.choose(list.at + 1),
  k: () => list.choose(list.at - 1),
  n: () => goToChange(1),
  p: () => goToChange(-1),
  "/": () => byId("search").focus(),
  "?": () => byId("keys").showModal(),
};
const IN_LIST = {
  ArrowDown: () => list.choose(list.at + 1),
  ArrowUp: () => list.choose(list.at - 1),
  PageDown: () => list.choose(list.at + list.pageful()),
  PageUp: () => list.choose(list.at - list.pageful()),
  Home: () => list.choose(0),
  End: () => list.choose(list.entries.length - 1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.target.closest("input, select")) {
    if (event.key === "Escape") byId("list").focus();
    return;
  }
  const inDetail = event.target.closest("#detail") !== null; // where arrows scroll
  const action = ACTIONS[event.key] ?? (inDetail ? undefined : IN_LIST[event.key]);
  if (!action) return;
  event.preventDefault();
  action();
});

let waiting = 0;
byId("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, 150);
});
for (const id of ["status", "oracle", "flag", "least", "most", "order"]) byId(id).addEventListener("change", refresh);
byId("clear").addEventListener("click", () => {
  for (const id of ["search", "status", "oracle", "flag", "least", "most"]) byId(id).value = "";
  byId("order").selectedIndex = 0;
  refresh();
});
for (const [id, key] of [["mode", "d"], ["math", "m"], ["theme", "t"], ["help", "?"]]) byId(id).addEventListener("click", ACTIONS[key]);
byId("close").addEventListener("click", () => byId("keys").close());

fillFilter("status", entries.map((entry) => entry.status));
fillFilter("oracle", entries.map((entry) => entry.oracle));
fillFilter("flag", entries.flatMap((entry) => entry.flags));
for (const name of Object.keys(ORDERS)) byId("order").append(new Option(name, name));
refresh();
if (/^#\d+$/.test(location.hash)) list.choose(Number(location.hash.slice(1)));
redraw();
byId("list").focus();
