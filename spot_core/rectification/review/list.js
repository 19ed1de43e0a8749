// The rows at the left: which are shown, how each stands, which one is chosen.

const BACK = "sent back";
const KINDS = ["all", OPEN, EDITED, SKIPPED, BACK];
const MOST_SHOWN = 160; // characters of a question

class List {
  constructor(node, rows, drafts, onChoose) {
    this.node = node;
    this.rows = rows;
    this.drafts = drafts;
    this.shown = rows;
    this.items = rows.map((row, n) => {
      const item = element("div", "item");
      item.setAttribute("role", "option");
      item.id = `item-${n}`;
      item.append(element("div", "state"), element("div", "question", row.question.slice(0, MOST_SHOWN)));
      item.addEventListener("click", () => onChoose(n));
      this.draw(item, n);
      return item;
    });
    this.nothing = element("p", "nothing", "nothing fits");
    node.append(...this.items, this.nothing);
    this.filter("", "all");
  }

  draw(item, n) {
    const row = this.rows[n];
    const state = this.drafts.state(row);
    item.dataset.state = state;
    show(item.firstChild, `${n + 1} · ${state}${row.previous && state === OPEN ? ` · ${BACK}` : ""}`);
  }

  update(n) {
    this.draw(this.items[n], n);
  }

  // Shows the rows of a kind in which the words stand.
  filter(words, kind) {
    const wanted = words.toLowerCase();
    this.shown = [];
    this.rows.forEach((row, n) => {
      const state = this.drafts.state(row);
      const fits =
        (kind === "all" || kind === state || (kind === BACK && Boolean(row.previous))) &&
        [row.question, row.gold, row.response, row.reason, row.id, this.drafts.text(row)].some((text) =>
          text.toLowerCase().includes(wanted),
        );
      this.items[n].hidden = !fits;
      if (fits) this.shown.push(n);
    });
    this.nothing.hidden = this.shown.length > 0;
  }

  choose(n) {
    for (const item of this.node.querySelectorAll("[aria-selected]")) item.removeAttribute("aria-selected");
    this.items[n].setAttribute("aria-selected", "true");
    this.node.setAttribute("aria-activedescendant", this.items[n].id);
    this.items[n].scrollIntoView({ block: "nearest" });
  }

  // The row so many places further among those that are shown.
  beside(n, step) {
    const place = this.shown.indexOf(n);
    if (place < 0) return this.shown[0] ?? n;
    return this.shown[Math.min(Math.max(place + step, 0), this.shown.length - 1)];
  }

  // The next open row that is shown, around the end to the beginning; null if there is none.
  nextOpen(n) {
    const order = [...this.shown.filter((m) => m > n), ...this.shown.filter((m) => m <= n)];
    return order.find((m) => m !== n && this.drafts.state(this.rows[m]) === OPEN) ?? null;
  }
}
