// The field of the edit is a text that takes no elements: what is spelled out in it is written back when it is read.

const SPELLED = /\u2039U\+([0-9A-F]{4,6})\u203a/g;

// What the field shows. A text that looks like a spelled-out character is told apart by its first mark.
function toField(text) {
  return spelledOut(text.replace(SPELLED, (looks) => "\u2039U+2039\u203a" + looks.slice(1)));
}

// The text that the field stands for: fromField(toField(text)) === text.
function fromField(shown) {
  return shown.replace(SPELLED, (whole, number) => {
    const point = parseInt(number, 16);
    return point > 0x10ffff ? whole : String.fromCodePoint(point);
  });
}
