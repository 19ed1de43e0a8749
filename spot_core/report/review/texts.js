// Texts become text nodes, never markup. Characters that cannot be seen, or that move others, stand as ‹U+0000›: in the
// field of the edit too, where they are written back when it is read.

const ODD = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u3164\uffa0]/gu;
const SPELLED = /\u2039U\+([0-9A-F]{4,6})\u203a/g;

function spelled(character) {
  const number = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return `\u2039U+${number}\u203a`;
}

// What the field shows. A text that looks like a spelled-out character is told apart by its first mark.
function toField(text) {
  return text.replace(SPELLED, (looks) => spelled("\u2039") + looks.slice(1)).replace(ODD, spelled);
}

// The text that the field stands for: fromField(toField(text)) === text.
function fromField(shown) {
  return shown.replace(SPELLED, (whole, number) => {
    const point = parseInt(number, 16);
    return point > 0x10ffff ? whole : String.fromCodePoint(point);
  });
}

// Adds the text to a node, odd characters set apart.
function addText(node, text) {
  let at = 0;
  for (const match of text.matchAll(ODD)) {
    if (match.index > at) node.append(text.slice(at, match.index));
    const mark = document.createElement("span");
    mark.className = "odd";
    mark.textContent = spelled(match[0]).slice(1, -1);
    node.append(mark);
    at = match.index + match[0].length;
  }
  if (at < text.length) node.append(text.slice(at));
}

// An element of a class with the texts in it.
function element(tag, name, ...texts) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const text of texts) addText(node, String(text));
  return node;
}

// Puts the text in place of what the node holds.
function show(node, text) {
  node.replaceChildren();
  addText(node, text);
}
