// One entry: question, gold answer, the edit, what was measured, and what was asked.

const CONTEXT = 2; // unchanged lines shown around changed ones
const LEAST_FOLDED = 4; // unchanged lines that are worth folding away

function drawEntry(node, entry, { mode, formulas }) {
  if (!entry) {
    node.replaceChildren(element("p", "nothing", "No pair is chosen."));
    return;
  }
  const parts = [facts(entry)];
  if (entry.reason) parts.push(element("p", "why", entry.reason));
  parts.push(heading("Question"), plainText(entry.question, formulas));
  parts.push(heading("Gold answer"), plainText(entry.gold, formulas));
  if (!entry.edited) parts.push(heading("Response y⁻ (there is no edit to show)"), plainText(whole(entry.texts, OLD), formulas));
  else if (mode === "one") parts.push(heading("Edit: y⁻ struck, y⁺ new"), oneText(entry.texts, formulas));
  else parts.push(heading("Edit"), twoSides(entry.texts, formulas));
  if (entry.history.length) parts.push(heading("What was asked"), asked(entry.history));
  node.replaceChildren(...parts);
  node.scrollTop = 0;
}

const heading = (text) => element("h2", "", text);
const dollars = (cost) => (cost === null ? "–" : `$${cost.toFixed(cost && cost < 0.01 ? 5 : 2)}`);

function facts(entry) {
  const fact = (name, value) => element("span", "", `${name} `, element("b", "", value));
  const made = [element("span", "", statusWord(entry.status)), fact("Oracle", entry.oracle)];
  if (entry.ratio !== null) made.push(fact("R", entry.ratio.toFixed(4)));
  if (entry.regions !== null) made.push(fact("edit regions", entry.regions));
  if (entry.prefix !== null) made.push(fact("tokens before the first edit", entry.prefix));
  made.push(fact("attempts", entry.attempts));
  if (entry.tokens) made.push(fact("Oracle tokens", entry.tokens.toLocaleString("en")));
  if (entry.cost) made.push(fact("cost", dollars(entry.cost)));
  if (entry.flags.length) made.push(fact("flags", entry.flags.join(", ")));
  made.push(fact("row", entry.id));
  return element("p", "facts", ...made);
}

function plainText(text, formulas) {
  const node = element("pre", "text");
  addRuns(node, runsOf([text], OLD, formulas), OLD);
  return node;
}

function addRuns(node, runs, side) {
  let mark = null;
  let kind = 0;
  for (const run of runs) {
    const wanted = run.changed ? (run.side ?? side) : 0;
    if (wanted !== kind || !wanted) mark = null;
    kind = wanted;
    if (wanted && !mark) {
      mark = element(wanted === OLD ? "del" : "ins");
      node.append(mark);
    }
    if (run.mathml) node.append(drawMathML(run.mathml));
    else if (!mark) addText(node, run.text);
    else addText(mark, /^\s+$/.test(run.text) ? run.text.replaceAll("\n", "↵\n") : run.text);
  }
}

function oneText(texts, formulas) {
  const node = element("pre", "text");
  addRuns(node, inOne(texts, formulas), NEW);
  return node;
}

function twoSides(texts, formulas) {
  const grid = element("div", "sides", element("div", "name", "rejected y⁻"), element("div", "name new", "rectified y⁺"));
  const lines = sideBySide(texts, formulas);
  const near = lines.map((_, n) => lines.slice(Math.max(0, n - CONTEXT), n + CONTEXT + 1).some((line) => line.changed));
  const foldable = near.includes(true);
  for (let at = 0; at < lines.length; ) {
    let end = at;
    while (foldable && end < lines.length && !near[end]) end++;
    if (end - at >= LEAST_FOLDED) grid.append(fold(lines.slice(at, end)));
    else {
      end = Math.max(end, at + 1);
      grid.append(...lines.slice(at, end).flatMap(cells));
    }
    at = end;
  }
  return grid;
}

function fold(lines) {
  const button = element("button", "fold", `⋯ ${lines.length} lines are the same`);
  button.type = "button";
  button.addEventListener("click", () => button.replaceWith(...lines.flatMap(cells)));
  return button;
}

function cells(line) {
  return [
    [line.old, OLD],
    [line.fresh, NEW],
  ].map(([runs, side]) => {
    const node = element("pre", side === NEW ? "text new" : "text");
    addRuns(node, runs, side);
    return node;
  });
}

function asked(proposals) {
  const head = element("tr", "", ...["attempt", "Oracle", "status", "R", "tokens in", "out", "cost", "reason"].map((name) => element("th", "", name)));
  const lines = proposals.map((proposal) =>
    element(
      "tr", "",
      element("td", "number", proposal.attempt),
      element("td", "", proposal.oracle),
      element("td", "", statusWord(proposal.status)),
      element("td", "number", proposal.change_ratio === null ? "–" : proposal.change_ratio.toFixed(3)),
      element("td", "number", proposal.input_tokens.toLocaleString("en")),
      element("td", "number", proposal.output_tokens.toLocaleString("en")),
      element("td", "number", dollars(proposal.cost_usd)),
      element("td", "", proposal.reason ?? ""),
    ),
  );
  return element("table", "", head, ...lines);
}
