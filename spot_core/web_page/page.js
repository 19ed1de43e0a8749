// Texts become text nodes, never markup. Characters that cannot be seen, or that move others, are spelled out.

const ODD = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u3164\uffa0]/gu;

const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

function spelled(character) {
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// A text for places that take no elements, such as options: odd characters stand as ‹U+0000›.
function spelledOut(text) {
  return String(text).replace(ODD, (character) => `\u2039${spelled(character)}\u203a`);
}

// Adds the text to a node, odd characters set apart.
function addText(node, text) {
  let at = 0;
  for (const match of text.matchAll(ODD)) {
    if (match.index > at) node.append(text.slice(at, match.index));
    const mark = document.createElement("span");
    mark.className = "odd";
    mark.textContent = spelled(match[0]);
    node.append(mark);
    at = match.index + match[0].length;
  }
  if (at < text.length) node.append(text.slice(at));
}

// Puts the text in place of what the node holds.
function show(node, text) {
  node.replaceChildren();
  addText(node, text);
}

// An element of a class with children, which are nodes or texts.
function element(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const child of children) {
    if (child instanceof Node) node.append(child);
    else addText(node, String(child));
  }
  return node;
}
