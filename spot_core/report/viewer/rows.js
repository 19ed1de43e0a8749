// Which entries are shown, in which order, and the list of them, of which only what can be seen is drawn.

const ITEM_HEIGHT = 48; // pixels, as in the style
const AROUND = 8; // items drawn above and below what can be seen

const byNumber = (value) => (a, b) => {
  const [x, y] = [value(a), value(b)];
  if (x === null || y === null) return (x === null) - (y === null);
  return x - y;
};
const ORDERS = {
  "as in the artifact": null,
  "R, smallest first": byNumber((entry) => entry.ratio),
  "R, largest first": byNumber((entry) => (entry.ratio === null ? null : -entry.ratio)),
  "most edit regions": byNumber((entry) => (entry.regions === null ? null : -entry.regions)),
  "earliest edit": byNumber((entry) => entry.prefix),
  "most attempts": byNumber((entry) => -entry.attempts),
  "dearest": byNumber((entry) => -(entry.cost ?? 0)),
  "most Oracle tokens": byNumber((entry) => -entry.tokens),
  "longest response": byNumber((entry) => -entry.texts.reduce((sum, text, n) => sum + (n % 3 === NEW ? 0 : text.length), 0)),
};

function isWanted(entry, wanted) {
  if (wanted.status && entry.status !== wanted.status) return false;
  if (wanted.oracle && entry.oracle !== wanted.oracle) return false;
  if (wanted.flag && !entry.flags.includes(wanted.flag)) return false;
  if (wanted.least !== null && !(entry.ratio !== null && entry.ratio >= wanted.least)) return false;
  if (wanted.most !== null && !(entry.ratio !== null && entry.ratio <= wanted.most)) return false;
  if (!wanted.search) return true;
  const texts = [entry.id, entry.question, entry.gold, whole(entry.texts, OLD), entry.reason ?? ""];
  if (entry.edited) texts.push(whole(entry.texts, NEW));
  texts.push(...entry.history.map((proposal) => proposal.reason ?? ""));
  return texts.some((text) => text.toLowerCase().includes(wanted.search));
}

function selection(entries, wanted) {
  const found = entries.filter((entry) => isWanted(entry, wanted));
  const order = ORDERS[wanted.order];
  return order ? found.sort(order) : found;
}

class List {
  constructor(node, chosen) {
    this.node = node;
    this.height = node.querySelector("#height");
    this.chosen = chosen; // is told the entry
    this.entries = [];
    this.at = -1;
    node.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(node);
    node.addEventListener("click", (event) => {
      const item = event.target.closest(".item");
      if (item) this.choose(Number(item.dataset.at));
    });
  }

  show(entries, keep) {
    this.entries = entries;
    this.height.style.height = `${entries.length * ITEM_HEIGHT}px`;
    const place = entries.indexOf(keep);
    if (place < 0) this.node.scrollTop = 0;
    this.choose(place < 0 ? 0 : place);
  }

  choose(at) {
    this.at = Math.max(0, Math.min(at, this.entries.length - 1));
    const top = this.at * ITEM_HEIGHT;
    const seen = this.node.clientHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    if (top + ITEM_HEIGHT > this.node.scrollTop + seen) this.node.scrollTop = top + ITEM_HEIGHT - seen;
    this.draw();
    this.chosen(this.entries[this.at]);
  }

  pageful() {
    return Math.max(1, Math.floor(this.node.clientHeight / ITEM_HEIGHT) - 1);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / ITEM_HEIGHT) - AROUND);
    const last = Math.ceil((this.node.scrollTop + this.node.clientHeight) / ITEM_HEIGHT) + AROUND;
    const items = this.entries.slice(first, last).map((entry, n) => this.item(entry, first + n));
    if (!items.length) items.push(element("div", "nothing", "No pair is like that."));
    this.height.replaceChildren(...items);
  }

  item(entry, at) {
    const ratio = entry.ratio === null ? "" : ` · R ${entry.ratio.toFixed(3)}`;
    const flags = entry.flags.length ? ` · ${entry.flags.join(", ")}` : "";
    const node = element(
      "div", "item",
      element("div", "", statusWord(entry.status), `${ratio} · ${entry.oracle}${flags}`),
      element("div", "question", entry.question.slice(0, 120).replaceAll("\n", " ")),
    );
    node.dataset.at = at;
    node.style.top = `${at * ITEM_HEIGHT}px`;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", String(at === this.at));
    return node;
  }
}

function statusWord(status) {
  return element("span", status === "accepted" ? "status accepted" : "status", status);
}
