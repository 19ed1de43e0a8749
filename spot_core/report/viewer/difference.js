// From the texts of an entry to runs {text, changed, region} that can be drawn.
// `texts` joins up to y⁻ and y⁺: shared, old, new, shared, old, new …; region n is its n-th triple.

const OLD = 1;
const NEW = 2;

function whole(texts, side) {
  return texts.filter((_, n) => n % 3 === 0 || n % 3 === side).join("");
}

// One side's text in runs. With `math`, formulas are made readable; a piece of them is changed if any of it is.
function runsOf(texts, side, math) {
  const parts = [];
  let length = 0;
  texts.forEach((text, n) => {
    const changed = n % 3 !== 0;
    if (!text || (changed && n % 3 !== side)) return;
    parts.push({ start: length, end: length + text.length, changed, region: Math.floor(n / 3) });
    length += text.length;
  });
  const text = whole(texts, side);
  const pieces = math && length <= MOST_READABLE ? readable(text) : [{ start: 0, end: length }];
  const runs = [];
  let first = 0;
  for (const { start, end, shown } of pieces) {
    while (first + 1 < parts.length && parts[first].end <= start) first++;
    if (shown === undefined) {
      for (let n = first; n < parts.length && parts[n].start < end; n++) {
        const { changed, region } = parts[n];
        const cut = text.slice(Math.max(start, parts[n].start), Math.min(end, parts[n].end));
        if (cut) runs.push({ text: cut, changed, region });
      }
    } else if (start === end) {
      const { changed, region } = runs.at(-1) ?? parts[first];
      runs.push({ text: shown, changed, region });
    } else {
      let owner = parts[first];
      for (let n = first; n < parts.length && parts[n].start < end && !owner.changed; n++)
        if (parts[n].changed) owner = parts[n];
      // A change that the readable form has no character for is shown as it is written.
      const drawn = shown || (owner.changed ? text.slice(start, end) : "");
      runs.push({ text: drawn, changed: owner.changed, region: owner.region });
    }
  }
  return runs;
}

// Both texts in one: what is shared, then of each region the old and the new.
function inOne(texts, math) {
  const [old, fresh] = [OLD, NEW].map((side) => runsOf(texts, side, math));
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
    pieces.forEach((text, n) => {
      if (n > 0) {
        const count = (ends.get(run.region) ?? 0) + 1;
        ends.set(run.region, count);
        lines.push({ cut: `${run.region}:${count}`, runs: [] });
      }
      if (text) lines.at(-1).runs.push({ ...run, text });
    });
  }
  return lines;
}

// Lines of both sides beside each other: [{old, fresh, changed}], cut only where both sides end a line.
function sideBySide(texts, math) {
  const [old, fresh] = [OLD, NEW].map((side) => linesOf(runsOf(texts, side, math)));
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
