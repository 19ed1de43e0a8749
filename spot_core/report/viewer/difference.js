// From the texts of an entry to runs {text, changed, region, mathml} that can be drawn.
// `texts` joins up to y⁻ and y⁺: shared, old, new, shared, old, new …; region n is its n-th triple.

const OLD = 1;
const NEW = 2;

function whole(texts, side) {
  return texts.filter((_, n) => n % 3 === 0 || n % 3 === side).join("");
}

// One side's text in runs. Those that are a formula have its `mathml`: with `formulas`, the formulas in which nothing is
// changed. A formula with a change in it stays as it is written, so that what was changed can be seen.
function runsOf(texts, side, formulas) {
  const text = whole(texts, side);
  const found = formulas ? formulasOf(text, formulas) : [];
  const runs = [];
  let next = 0;
  let at = 0;
  texts.forEach((part, n) => {
    const changed = n % 3 !== 0;
    if (!part || (changed && n % 3 !== side)) return;
    const about = { changed, region: Math.floor(n / 3) };
    const start = at;
    const end = start + part.length;
    for (; next < found.length && found[next].index < end; next++) {
      const { source, index, mathml } = found[next];
      if (changed || index < start || index + source.length > end) continue;
      if (index > at) runs.push({ text: text.slice(at, index), ...about });
      runs.push({ text: source, mathml, ...about });
      at = index + source.length;
    }
    if (end > at) runs.push({ text: text.slice(at, end), ...about });
    at = end;
  });
  return runs;
}

// Both texts in one: what is shared, then of each region the old and the new.
function inOne(texts, formulas) {
  const [old, fresh] = [OLD, NEW].map((side) => runsOf(texts, side, formulas));
  const made = [];
  let from = 0;
  let to = 0;
  for (let region = 0; region < texts.length / 3; region++) {
    const changed = [];
    for (; to < fresh.length && fresh[to].region === region; to++)
      (fresh[to].changed ? changed : made).push({ ...fresh[to], side: NEW });
    for (; from < old.length && old[from].region === region; from++)
      if (old[from].changed) made.push({ ...old[from], side: OLD });
    made.push(...changed);
  }
  return made;
}

// Runs cut where a shared line ends; `cut` names that place, the same on both sides.
function linesOf(runs) {
  const lines = [{ cut: null, runs: [] }];
  const ends = new Map();
  for (const run of runs) {
    const pieces = run.changed ? [run.text] : run.text.split("\n");
    const count = ends.get(run.region) ?? 0;
    ends.set(run.region, count + pieces.length - 1);
    if (run.mathml) lines.at(-1).runs.push(run);
    else
      pieces.forEach((text, n) => {
        if (n > 0) lines.push({ cut: `${run.region}:${count + n}`, runs: [] });
        if (text) lines.at(-1).runs.push({ ...run, text });
      });
  }
  return lines;
}

// Lines of both sides beside each other: [{old, fresh, changed}], cut only where both sides end a line.
function sideBySide(texts, formulas) {
  const [old, fresh] = [OLD, NEW].map((side) => linesOf(runsOf(texts, side, formulas)));
  const shared = new Set(old.map((line) => line.cut));
  const common = new Set(fresh.map((line) => line.cut).filter((cut) => shared.has(cut)));
  const [left, right] = [old, fresh].map((lines) => {
    const joined = [];
    for (const line of lines) {
      if (common.has(line.cut)) joined.push([...line.runs]);
      else joined.at(-1).push({ text: "\n", changed: false }, ...line.runs);
    }
    return joined;
  });
  return left.map((runs, n) => ({
    old: runs,
    fresh: right[n],
    changed: [...runs, ...right[n]].some((run) => run.changed),
  }));
}
