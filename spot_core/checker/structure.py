"""Reads how an answer is built: list, tuple, set, interval, matrix, equation; what is left is one expression.

Works on normalised answers. An answer whose structure is not understood is one expression, never an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spot_core.checker.brackets import is_balanced, is_enclosed, split_top
from spot_core.checker.clock import read_clock
from spot_core.checker.quantity import read_quantity
from spot_core.checker.spans import Bound, Span, read_inequalities

MAX_DEPTH = 12
MAX_ITEMS = 64
"""Longer or deeper answers are no final answers of this kind; they stay one expression."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, compared as a number, as words or by SymPy."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers. `kind`: `list` (1, 2), `set` {1, 2} or `tuple` (1, 2), the only one whose order counts."""

    kind: str
    items: tuple["Node", ...]
    text: str


@dataclass(frozen=True, slots=True)
class Union:
    """One or more intervals."""

    spans: tuple[Span, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple["Node", ...], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """`name = value`."""

    name: str
    value: "Node"
    text: str


Node = Expression | Group | Union | Matrix | Named

_MATRIX = re.compile(
    r"\\begin\s*\{([pbBvV]?matrix|smallmatrix|array)\}(?:\s*\{[lcr| ]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_NESTED_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\]\s*(?:,\s*\[[^\[\]]*\]\s*)*)\]")
_INTERVAL_ENDS = frozenset(["[]", "[)", "(]", "][", "]]", "[["])
"""The French notation turns the bracket of an open end around: `]0, 1[`."""
_NAME = re.compile(
    r"[A-Za-z\\][A-Za-z\\ '_{}\d:]{0,40}(?:\([A-Za-z\\ ,\d]{1,20}\))?'?|\([A-Za-z, _{}\d\\]{1,40}\)"
)
_PLUS_MINUS = re.compile(r"\\pm|\\mp|\+/-|\+-")
_EMPTY = re.compile(
    r"(?:there (?:is|are) )?no (?:real |integer |such )?(?:solutions?|roots?|values?)(?: exists?)?|(?:the )?empty set|none",
    re.IGNORECASE,
)
_ALL_REALS = re.compile(
    r"(?:all|any|every) (?:real numbers?|reals?)|\(-\\infty ?, ?\+?\\infty ?\)", re.IGNORECASE
)


def read_structure(text: str) -> Node:
    """The structure of a normalised answer."""
    return _read(text, 0)


def _read(text: str, depth: int) -> Node:
    text = _without_group(text.strip())
    if depth > MAX_DEPTH or read_quantity(text) or read_clock(text):
        return Expression(text)
    for read in (
        _special,
        _matrix,
        _inequality,
        _interval,
        _named,
        _union,
        _several,
        _bracketed,
        _plus_minus,
    ):
        if (node := read(text, depth)) is not None:
            return node
    return Expression(text)


def _without_group(text: str) -> str:
    """Without the braces of a TeX group around everything; with a comma in it they are somebody's set."""
    while text.startswith("{") and text.endswith("}") and is_enclosed(text, 1, 1):
        text = text[1:-1].strip()
    return text


def _special(text: str, depth: int) -> Node | None:
    if _EMPTY.fullmatch(text):
        return Expression(r"\emptyset")
    if _ALL_REALS.fullmatch(text):
        return Expression(r"\mathbb{R}")
    member, *sets = split_top(text, lambda word: word == r"\in")
    if len(sets) == 1 and _NAME.fullmatch(member):
        return _read(sets[0], depth + 1)
    return None


def _matrix(text: str, depth: int) -> Node | None:
    if match := _MATRIX.fullmatch(text):
        if r"\begin" in match[2]:
            return None  # a product of matrices, or a matrix of matrices
        lines = [line for line in match[2].split(r"\\") if line.strip()]
        cells: Iterator[list[str]] = (split_top(line, lambda word: word == "&") for line in lines)
    elif match := _NESTED_ROWS.fullmatch(text):
        cells = (row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", match[1]))
    else:
        return None
    return Matrix(tuple(tuple(_read(cell, depth + 1) for cell in row) for row in cells), text)


def _inequality(text: str, depth: int) -> Node | None:
    spans = read_inequalities(text)
    return Union(tuple(spans), text) if spans else None


def _interval(text: str, depth: int) -> Node | None:
    ends = text[0] + text[-1] if len(text) > 1 else ""
    if ends not in _INTERVAL_ENDS:
        return None
    inner = text[1:-1]
    bounds = split_top(inner, lambda word: word in (",", ";"))
    if len(bounds) != 2 or not all(bounds) or not is_balanced(inner):
        return None
    low, high = Bound.of(bounds[0], closed=ends[0] == "["), Bound.of(bounds[1], closed=ends[1] == "]")
    return Union((Span(low, high),), text)


def _named(text: str, depth: int) -> Node | None:
    sides = split_top(text, lambda word: word == "=")
    if len(split_top(text, lambda word: word in (",", ";", "and", "or"))) > 1 and not _one_name(sides):
        return None
    if len(sides) == 1:
        name, *approximations = split_top(text, lambda word: word == r"\approx")
        if len(approximations) == 1 and (_NAME.fullmatch(name) or not name):
            return Named(name, _read(approximations[0], depth + 1), text)
        return None
    if len(sides) == 2 and not _NAME.fullmatch(sides[0]) and _NAME.fullmatch(sides[1]):
        sides.reverse()
    if sides[0] and not _NAME.fullmatch(sides[0]):
        return None
    value = split_top(sides[-1], lambda word: word == r"\approx")[0]
    return Named("".join(sides[0].split()), _read(value, depth + 1), text) if value else None


def _one_name(sides: list[str]) -> bool:
    """Whether all commas stand on the right of the only equals sign, as in `x = 1, 2`."""
    return len(sides) == 2 and bool(_NAME.fullmatch(sides[0]))


def _union(text: str, depth: int) -> Node | None:
    parts = split_top(text, lambda word: word == r"\cup")
    if len(parts) > 1:
        spans = [span for part in parts for span in _spans_of(_read(part, depth + 1))]
        return Union(tuple(spans), text) if len(spans) >= len(parts) else None
    whole, *without = split_top(text, lambda word: word in (r"\setminus", r"\backslash"))
    if whole == r"\mathbb{R}" and len(without) == 1:
        removed = _read(without[0], depth + 1)
        items = removed.items if isinstance(removed, Group) else (removed,)
        if len(items) == 1 and isinstance(items[0], Expression):
            point = items[0].text
            return Union((Span(None, Bound(point, False)), Span(Bound(point, False), None)), text)
    return None


def _spans_of(node: Node) -> tuple[Span, ...]:
    if isinstance(node, Union):
        return node.spans
    span = open_interval(node)
    return () if span is None else (span,)


def open_interval(node: Node) -> Span | None:
    """The pair (a, b) read as an interval."""
    if not isinstance(node, Group) or node.kind != "tuple" or len(node.items) != 2:
        return None
    low, high = (item.text for item in node.items)
    return Span(Bound.of(low, closed=False), Bound.of(high, closed=False))


def _several(text: str, depth: int) -> Node | None:
    for separators in ((";",), (",", "and", "or")):
        parts = [part for part in split_top(text, lambda word, s=separators: word in s) if part]
        if 1 < len(parts) <= MAX_ITEMS:
            items = tuple(_read(part, depth + 1) for part in parts)
            if separators == (";",):  # p = 5, q = 2; p = 7, q = 2
                items = tuple(_as_tuple(item) for item in items)
            return Group("list", items, text)
    return None


def _as_tuple(node: Node) -> Node:
    return Group("tuple", node.items, node.text) if isinstance(node, Group) and node.kind == "list" else node


def _bracketed(text: str, depth: int) -> Node | None:
    for opening, closing, kind in (("(", ")", "tuple"), (r"\{", r"\}", "set"), ("[", "]", "tuple")):
        if not (text.startswith(opening) and text.endswith(closing)):
            continue
        if not is_enclosed(text, len(opening), len(closing)):
            continue
        inner = text[len(opening) : -len(closing)].strip()
        parts = [part for part in split_top(inner, lambda word: word in (",", ";")) if part]
        if not parts or len(parts) > MAX_ITEMS or (kind == "set" and re.search(r"\\mid|\||:", inner)):
            return None
        items = tuple(_read(part, depth + 1) for part in parts)
        return items[0] if len(items) == 1 and kind != "set" else Group(kind, items, text)
    return None


def _plus_minus(text: str, depth: int) -> Node | None:
    signs = _PLUS_MINUS.findall(text)
    if len(signs) != 1:
        return None
    items = tuple(_read(_PLUS_MINUS.sub(sign, text), depth + 1) for sign in ("+", "-"))
    return Group("list", items, text)
