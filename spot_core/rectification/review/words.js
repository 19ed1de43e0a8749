// The difference of two texts, word by word: the shortest edit (Myers 1986), which is a longest common subsequence.

const PIECE = /[0-9]+(?:[.,][0-9]+)*|[\p{L}\p{M}]+|[^\S\n]+|\n|./gsu;
const MOST_STEPS = 1500; // beyond so many changed words all between the shared ends counts as changed

// Runs {kind: "same" | "old" | "new", text}; of each change the old comes first.
function difference(oldText, newText) {
  const from = oldText.match(PIECE) ?? [];
  const to = newText.match(PIECE) ?? [];
  let start = 0;
  while (start < from.length && start < to.length && from[start] === to[start]) start++;
  let end = 0;
  while (end < Math.min(from.length, to.length) - start && from.at(-1 - end) === to.at(-1 - end)) end++;
  const middle = [from.slice(start, from.length - end), to.slice(start, to.length - end)];
  const runs = [];
  add(runs, "same", from.slice(0, start));
  for (const [kind, words] of changes(...middle)) add(runs, kind, words);
  add(runs, "same", from.slice(from.length - end));
  return runs;
}

// Share of the new text's words that the old one lacks, blanks left out.
function shareOfNew(runs) {
  const count = (kinds) =>
    runs
      .filter((run) => kinds.includes(run.kind))
      .reduce((sum, run) => sum + (run.text.match(PIECE) ?? []).filter((word) => word.trim()).length, 0);
  const all = count(["same", "new"]);
  return all ? count(["new"]) / all : 0;
}

function add(runs, kind, words) {
  if (words.length) runs.push({ kind, text: words.join("") });
}

function changes(from, to) {
  const reached = furthest(from, to);
  if (!reached) return [["old", from], ["new", to]];
  const kinds = [];
  let [x, y] = [from.length, to.length];
  for (let steps = reached.length - 1; steps >= 0; steps--) {
    const k = x - y;
    const down = k === -steps || (k !== steps && at(reached, steps, k - 1) < at(reached, steps, k + 1));
    const before = down ? k + 1 : k - 1;
    const left = steps ? at(reached, steps, before) : 0;
    const [fromX, fromY] = steps ? [down ? left : left + 1, down ? left - before + 1 : left - before] : [0, 0];
    while (x > fromX && y > fromY) kinds.push(["same", from[--x], y--]);
    if (steps) kinds.push(down ? ["new", to[--y]] : ["old", from[--x]]);
  }
  return grouped(kinds.reverse());
}

// reached[steps] holds, by diagonal, how far the steps before have come.
function at(reached, steps, k) {
  return reached[steps][k + steps];
}

// Of each number of steps the furthest places that fewer have reached; null if it takes too many.
function furthest(from, to) {
  const reached = [];
  let before = new Int32Array([0, 0, 0]); // diagonals -1, 0, 1 of no steps
  for (let steps = 0; steps <= Math.min(from.length + to.length, MOST_STEPS); steps++) {
    reached.push(before);
    const now = new Int32Array(2 * steps + 3); // diagonals -steps-1 … steps+1
    for (let k = -steps; k <= steps; k += 2) {
      const [below, above] = [before[k - 1 + steps], before[k + 1 + steps]];
      let x = k === -steps || (k !== steps && below < above) ? above : below + 1;
      if (!steps) x = 0;
      while (x < from.length && x - k < to.length && from[x] === to[x - k]) x++;
      now[k + steps + 1] = x;
      if (x >= from.length && x - k >= to.length) return reached;
    }
    before = now;
  }
  return null;
}

function grouped(kinds) {
  const groups = [];
  let change = { old: [], new: [] };
  const close = () => {
    for (const kind of ["old", "new"]) if (change[kind].length) groups.push([kind, change[kind]]);
    change = { old: [], new: [] };
  };
  for (const [kind, word] of kinds) {
    if (kind !== "same") {
      change[kind].push(word);
    } else {
      close();
      if (groups.at(-1)?.[0] === "same") groups.at(-1)[1].push(word);
      else groups.push(["same", [word]]);
    }
  }
  close();
  return groups;
}
