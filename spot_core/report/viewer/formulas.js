// Formulas as MathML. The page has the elements of each as lists: [name, attributes, ...texts and elements].

const MATHML = "http://www.w3.org/1998/Math/MathML";

// The formulas of a text that can be drawn: [{source, index, mathml}], in order.
function formulasOf(text, { pattern, known }) {
  return [...text.matchAll(pattern)]
    .filter((match) => known.has(match[0]))
    .map((match) => ({ source: match[0], index: match.index, mathml: known.get(match[0]) }));
}

function drawMathML([name, attributes, ...children]) {
  const node = document.createElementNS(MATHML, name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  for (const child of children) {
    if (typeof child === "string") addText(node, child);
    else node.append(drawMathML(child));
  }
  return node;
}
