// What the person has done so far, row by row, kept in the browser until it is saved as a file.

const OPEN = "open";
const EDITED = "edited";
const SKIPPED = "skipped";

class Drafts {
  constructor(artifact) {
    this.prefix = `spot-review|${artifact}|`;
    this.known = new Map();
    this.kept = true; // false once the browser refuses to keep them
    this.saved = true; // false while something is not in a saved file
  }

  key(row) {
    return `${row.id}/${row.sample}`;
  }

  // {text, skip} of a row; what an earlier page of the same artifact kept is taken up.
  of(row) {
    const key = this.key(row);
    if (!this.known.has(key)) this.known.set(key, this.read(key) ?? {});
    return this.known.get(key);
  }

  read(key) {
    try {
      const draft = JSON.parse(localStorage.getItem(this.prefix + key));
      return typeof draft?.text === "string" || draft?.skip === true ? draft : null;
    } catch (error) {
      if (!(error instanceof SyntaxError)) this.kept = false;
      return null;
    }
  }

  change(row, changed) {
    const key = this.key(row);
    const draft = { ...this.of(row), ...changed };
    this.known.set(key, draft);
    this.saved = false;
    try {
      localStorage.setItem(this.prefix + key, JSON.stringify(draft));
    } catch {
      this.kept = false; // the header says so, and leaving the page asks first
    }
  }

  // The edit, the one that was sent back, or the response.
  text(row) {
    return this.of(row).text ?? (row.previous || row.response);
  }

  state(row) {
    if (this.of(row).skip) return SKIPPED;
    const text = this.text(row);
    return text.trim() && text !== row.response && text !== row.previous ? EDITED : OPEN;
  }

  // The file: a line of JSON for each row that is edited or skipped.
  file(rows) {
    const lines = rows.flatMap((row) => {
      const about = { question_id: row.id, sample: row.sample };
      const state = this.state(row);
      if (state === SKIPPED) return [{ ...about, skip: true }];
      return state === EDITED ? [{ ...about, rectified: this.text(row) }] : [];
    });
    return lines.map((line) => JSON.stringify(line) + "\n").join("");
  }
}
