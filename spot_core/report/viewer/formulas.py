"""Finds the LaTeX formulas of untrusted texts and converts them into MathML from which nothing can break out."""

import re
import unicodedata
from collections import Counter
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

from spot_core.web_page import to_json

MOST_CHARACTERS = 2000
"""Of one formula; a longer one is shown as it is written."""
MOST_NESTED = 60
"""MathML elements inside of each other: what a browser lays out at once."""
MOST_ON_A_PAGE = 1_500_000
"""Characters of different formulas: about 20 seconds of work."""


def _group(depth: int) -> str:
    """Returns a regular expression of a group in braces with `depth` levels of groups inside."""
    inside = r"(?:[^{}\\]|\\.)*"
    for _ in range(depth):
        inside = rf"(?:[^{{}}\\]|\\.|\{{{inside}\}})*"
    return rf"\{{{inside}\}}"


FORMULA_PATTERN = "|".join(
    (
        r"\$\$(?:[^$\\]|\\.)+\$\$",
        r"\\\[(?:[^\\]|\\[^()[\]])+\\\]",
        r"\\\((?:[^\\]|\\[^()[\]])+\\\)",
        # Between single dollars only what looks like a formula: responses are full of prices.
        r"(?<!\\)\$(?![ \n])(?=[^$]*[\\^_{}]|[^ \n$]+\$|[A-Za-z0-9_.-]+ ?[=<>+] ?[A-Za-z0-9_.-]+\$)"
        r"(?:[^$\\\n]|\n(?!\n)|\\.)+(?<![ \n])\$(?![0-9])",
        r"\\begin\{([a-z]+\*?)\}(?:[^\\]|\\(?!begin|end))*\\end\{\1\}",
        # A command outside of all these, such as \boxed{…} at the end of a response.
        rf"\\[A-Za-z]+\*?(?:\[[^[\]{{}}\\\n]{{1,9}}\])?(?:{_group(3)})*",
    )
)
"""A formula with its delimiters: a regular expression, in which dots match line ends, for Python and JavaScript alike."""

_FORMULA = re.compile(FORMULA_PATTERN, re.DOTALL)
_DELIMITERS = {"$$": 2, r"\[": 2, r"\(": 2, "$": 1}  # their lengths
# Macros, and \sideset, which doubles its operand, can take exponential time. latex2mathml writes characters as
# references (&#x2264;): one in the text could not be told from them.
_REFUSED = re.compile(r"\\(?:def|newcommand|newenvironment|DeclareMathOperator|sideset)|&#")
_NAME = re.compile(r"\\(?:begin|end) *\{[A-Za-z]+\*?\}(?:\{[lcr|]+\})?|\\[A-Za-z]+")
_SIGNS = frozenset("%+-=<>/!")
_REFERENCE = re.compile("&#x([0-9A-Fa-f]+);")
_TOKENS = frozenset({"mi", "mn", "mo", "mtext"})
_ELEMENTS = _TOKENS | {"math", "mrow", "mstyle", "mpadded", "mspace", "msqrt", "mtable", "mtr", "mtd"}
_CHILDREN = {
    "mfrac": 2,
    "mroot": 2,
    "msub": 2,
    "msup": 2,
    "msubsup": 3,
    "munder": 2,
    "mover": 2,
    "munderover": 3,
}
_ATTRIBUTES = frozenset(
    "accent columnalign displaystyle fence form largeop linethickness lspace mathvariant maxsize minsize"
    " movablelimits rspace scriptlevel separator stretchy width".split()
)
_VALUE = re.compile(r"[a-z-]+|[0-9]?(?:\.[0-9]+)?(?:em)?")  # no length is below zero or as much as ten em


class FormulaTable:
    """The formulas of a page, each once.

    `lines` are pairs of a formula and its MathML as JSON, of `size` bytes. `is_complete` is false once formulas were
    left out because there were too many.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.size = 0
        self.is_complete = True
        self._known: set[str] = set()
        self._characters = 0

    def add(self, text: str) -> None:
        """Adds the formulas of a text. Those that cannot be converted are not in the table."""
        for formula in find_formulas(text):
            if formula in self._known or len(formula) > MOST_CHARACTERS:
                continue
            if self._characters + len(formula) > MOST_ON_A_PAGE:
                self.is_complete = False
                return
            self._known.add(formula)
            self._characters += len(formula)
            if mathml := convert_formula(formula):
                self.lines.append(to_json([formula, mathml]))
                self.size += len(self.lines[-1].encode())


class _NotShownError(ValueError):
    """The formula cannot be shown faithfully."""


def find_formulas(text: str) -> list[str]:
    """Returns the formulas of a text in order, each with its delimiters."""
    return [match[0] for match in _FORMULA.finditer(text)]


def convert_formula(formula: str) -> list[Any] | None:
    """Returns the MathML of a formula as nested lists: element, attributes, then texts and elements inside of it.

    Returns None if the formula is too long or too deep, or if latex2mathml does not know all of it: show its source
    then. Elements and attributes come from a fixed set that can load, run, hide or overlay nothing. The texts are
    untrusted: draw them as text nodes.
    """
    if len(formula) > MOST_CHARACTERS or _REFUSED.search(formula):
        return None
    cut = next((length for mark, length in _DELIMITERS.items() if formula.startswith(mark)), 0)
    source = formula[cut : len(formula) - cut]
    try:
        # As elements: in the text that latex2mathml can return, `<` is not escaped.
        root = Converter(display="block").convert_to_element(source)
        # latex2mathml drops comments, lengths, colours and some operands. What is dropped must not go unseen.
        if _characters(_NAME.sub("", source)) - _characters(_decoded("".join(root.itertext()))):
            return None
        return _tree(root, 0)
    except Exception:  # noqa: BLE001  on odd formulas latex2mathml raises anything, RecursionError too
        return None


def _characters(text: str) -> Counter[str]:
    """Returns how often each letter, digit and sign is there, in whatever font."""
    characters = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    return Counter(character for character in characters if character.isalnum() or character in _SIGNS)


def _decoded(text: str) -> str:
    return _REFERENCE.sub(lambda match: chr(int(match[1], 16)), text)


def _tree(element: Element, depth: int) -> list[Any]:
    tag = element.tag
    children = [_tree(child, depth + 1) for child in element]
    text = _decoded(element.text or "")
    attributes = {
        name: value
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and _VALUE.fullmatch(value)
    }
    if tag == "menclose" and element.get("notation") == "box":
        tag, attributes = "mrow", {"class": "box"}
    elif tag in _TOKENS and children:
        tag = "mrow"
    if (
        depth > MOST_NESTED
        or (tag not in _ELEMENTS and len(children) != _CHILDREN.get(tag))
        or "linebreak" in element.attrib
        or (text and tag not in _TOKENS)
        or (text.startswith("\\") and tag == "mi")  # a command that is not known
    ):
        raise _NotShownError
    if tag == "mrow" and len(children) == 1 and not attributes:
        return children[0]
    return [tag, attributes, *([text] if text else children)]
