"""Reads how an answer is built: list, tuple, set, interval, matrix, equation; what is left is one expression.

Works on normalised answers. An answer whose structure is not understood is one expression, never an error.
"""

import itertools
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
    r"\\begin\s*\{([pbB]?matrix|smallmatrix|array|cases)\}(?:\s*\{[lcr| ]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_NESTED_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\]\s*(?:,\s*\[[^\[\]]*\]\s*)*)\]")
_INTERVAL_ENDS = frozenset(["[]", "[)", "(]", "][", "]]", "[["])
"""The French notation turns the bracket of an open end around: `]0, 1[`."""
_NAME = re.compile(
    r"[A-Za-z\\][A-Za-z\\ '_{}\d:]{0,40}(?:\([A-Za-z\\ ,\d]{1,20}\))?'?|\([A-Za-z, _{}\d\\]{1,40}\)"
)
_PLUS_MINUS = re.compile(r"\\[pm]{2}(?![A-Za-z])|\+/-|\+-")
_CONDITION = re.compile(r"^\s*(?:if|for|when|where)\b")
_LABEL = re.compile(r"(?:[A-Z](?=\s*\([^()]*,)|[A-Z]?[a-z]{2,}(?: [a-z]+){0,3}:)\s*(.+)", re.DOTALL)
"""A point's name before its coordinates, or words and a colon."""
_HAS_VARIABLE = re.compile(r"(?<!\\)[A-Za-z]|\\(?:alpha|beta|gamma|theta|lambda|mu|phi|omega)(?![A-Za-z])")
_EMPTY = re.compile(
    r"(?:there (?:is|are) )?no (?:real |integer |such )?(?:solutions?|roots?|values?)(?: exists?)?|(?:the )?empty set|none",
    re.IGNORECASE,
)
_ALL_INTEGERS = re.compile(r"(?:all|any|every|the) integers?", re.IGNORECASE)
_ALL_BUT = re.compile(
    r"(?:all|any|every) (?:real numbers?|reals?)(?: x)?,? (?:except|but|other than)(?: for)? (.+)",
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
        _in_words,
        _member,
        _matrix,
        _inequality,
        _interval,
        _named,
        _union,
        _several,
        _plus_minus_in_tuple,
        _bracketed,
        _ratio,
        _plus_minus,
    ):
        if (node := read(text, depth)) is not None:
            return node
    return Expression(text)


def _without_group(text: str) -> str:
    """Without the braces of a TeX group around everything; with a comma in it they are somebody's set."""
    for _ in range(MAX_DEPTH):
        if not (text.startswith("{") and text.endswith("}") and is_enclosed(text, 1, 1)):
            break
        text = text[1:-1].strip()
    return text


def _in_words(text: str, depth: int) -> Node | None:
    """Sets that have names, and one value behind a label."""
    for pattern, name in (
        (_EMPTY, r"\emptyset"),
        (_ALL_REALS, r"\mathbb{R}"),
        (_ALL_INTEGERS, r"\mathbb{Z}"),
    ):
        if pattern.fullmatch(text):
            return Expression(name)
    if match := _ALL_BUT.fullmatch(text):
        return _without_points(match[1], text, depth)
    match = _LABEL.fullmatch(text)
    return _read(match[1], depth + 1) if match else None


def _member(text: str, depth: int) -> Node | None:
    member, *sets = split_top(text, lambda word: word == r"\in")
    return _read(sets[0], depth + 1) if len(sets) == 1 and _NAME.fullmatch(member) else None


def _matrix(text: str, depth: int) -> Node | None:
    if match := _MATRIX.fullmatch(text):
        if r"\begin" in match[2]:
            return None  # a product of matrices, or a matrix of matrices
        lines = [line for line in match[2].split(r"\\") if line.strip()]
        if match[1] == "cases":
            return _piecewise(lines, text, depth)
        cells: Iterator[list[str]] = (split_top(line, lambda word: word == "&") for line in lines)
    elif match := _NESTED_ROWS.fullmatch(text):
        cells = (row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", match[1]))
    else:
        return None
    return Matrix(tuple(tuple(_read(cell, depth + 1) for cell in row) for row in cells), text)


def _piecewise(lines: list[str], text: str, depth: int) -> Node | None:
    """Pairs of value and condition, in whatever order."""
    rows = [split_top(line, lambda word: word == "&") for line in lines]
    if any(len(row) != 2 for row in rows):
        return None
    pairs = [(value.rstrip(", "), _CONDITION.sub("", condition).rstrip(",. ")) for value, condition in rows]
    items = (tuple(_read(part, depth + 1) for part in pair) for pair in pairs)
    return Group("set", tuple(Group("tuple", item, text) for item in items), text)


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
    sides = [_without_group(side) for side in split_top(text, lambda word: word == "=")]
    several = len(split_top(text, lambda word: word in (",", ";", "and", "or"))) > 1
    if not all(sides[1:]) or (several and not _one_name(sides)):
        return None
    if len(sides) == 1:
        return _approximated(text, depth)
    if not any(_HAS_VARIABLE.search(side) for side in sides):
        return _read(sides[-1], depth + 1)  # 2 + 3 = 5
    if len(sides) == 2 and not _NAME.fullmatch(sides[0]) and _NAME.fullmatch(sides[1]):
        sides.reverse()
    if sides[0] and (not _NAME.fullmatch(sides[0]) or r"\frac" in sides[0]):
        return None
    value = split_top(sides[-1], lambda word: word == r"\approx")[0]
    return _assigned("".join(sides[0].split()), _read(value, depth + 1), text) if value else None


def _approximated(text: str, depth: int) -> Node | None:
    """`x \\approx 11` as `x = 11`; of `2/3 \\approx 0.667` the exact value counts."""
    name, *approximations = split_top(text, lambda word: word == r"\approx")
    if not approximations:
        return None
    if _NAME.fullmatch(name) or not name:
        return Named(name, _read(approximations[-1], depth + 1), text)
    return _read(name, depth + 1)


def _assigned(name: str, value: Node, text: str) -> Node:
    """`name = value`; `(x, y) = (1, 2)` gives a name to each of its values."""
    names = name[1:-1].split(",") if name.startswith("(") else []
    if (
        len(names) > 1
        and isinstance(value, Group)
        and value.kind == "tuple"
        and len(value.items) == len(names)
    ):
        items = (Named(*pair, text) for pair in zip(names, value.items, strict=True))
        return Group("tuple", tuple(items), text)
    return Named(name, value, text)


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
        return _without_points(without[0], text, depth)
    return None


def _without_points(points: str, text: str, depth: int) -> Node | None:
    """The real line without one point."""
    removed = _read(points, depth + 1)
    items = removed.items if isinstance(removed, Group) else (_value_of(removed),)
    if len(items) != 1 or not isinstance(items[0], Expression):
        return None
    point = Bound(items[0].text, closed=False)
    return Union((Span(None, point), Span(point, None)), text)


def _value_of(node: Node) -> Node:
    return node.value if isinstance(node, Named) else node


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
        parts = _continued([part for part in split_top(text, lambda word, s=separators: word in s) if part])
        if 1 < len(parts) <= MAX_ITEMS:
            items = tuple(_read(part, depth + 1) for part in parts)
            if separators == (";",):  # p = 5, q = 2; p = 7, q = 2
                items = tuple(_as_tuple(item) for item in items)
            return Group("list", items, text)
    return None


def _as_tuple(node: Node) -> Node:
    return Group("tuple", node.items, node.text) if isinstance(node, Group) and node.kind == "list" else node


def _ratio(text: str, depth: int) -> Node | None:
    parts = split_top(text, lambda word: word == ":")
    if not 2 <= len(parts) <= MAX_ITEMS or not all(parts) or all(map(read_quantity, parts)):
        return None
    return Group("ratio", tuple(_read(part, depth + 1) for part in parts), text)


def _bracketed(text: str, depth: int) -> Node | None:
    for opening, closing, kind in (("(", ")", "tuple"), (r"\{", r"\}", "set"), ("[", "]", "tuple")):
        if not (text.startswith(opening) and text.endswith(closing)):
            continue
        if not is_enclosed(text, len(opening), len(closing)):
            continue
        inner = text[len(opening) : -len(closing)].strip()
        if kind == "set" and (built := _built(inner, text)) is not None:
            return built
        parts = _continued([part for part in split_top(inner, lambda word: word in (",", ";")) if part])
        if not parts or len(parts) > MAX_ITEMS:
            return None
        items = tuple(_read(part, depth + 1) for part in parts)
        return items[0] if len(items) == 1 and kind != "set" else Group(kind, items, text)
    return None


def _built(inner: str, text: str) -> Node | None:
    """`\\{x \\mid x > 3\\}` as the interval it describes; any other set with a condition stays one expression."""
    for mark in (r"\mid", "|", ":"):
        member, *conditions = split_top(inner, lambda word, m=mark: word == m)
        if conditions:
            spans = (
                read_inequalities(conditions[0]) if len(conditions) == 1 and len(member) < MAX_ITEMS else []
            )
            return Union(tuple(spans), text) if spans else Expression(text)
    return None


def _continued(parts: list[str]) -> list[str]:
    """`1, 2, ..., 10` with what the dots stand for, where that is an arithmetic progression of integers."""
    if parts.count("...") != 1 or not 2 <= parts.index("...") == len(parts) - 2:
        return parts
    try:
        *first, last = (int(part) for part in parts if part != "...")
    except ValueError:
        return parts
    step = first[1] - first[0]
    steady = all(b - a == step for a, b in itertools.pairwise(first))
    if not step or not steady or (last - first[0]) % step or not 0 < (last - first[0]) // step < MAX_ITEMS:
        return parts
    return [str(value) for value in range(first[0], last + (1 if step > 0 else -1), step)]


def _plus_minus_in_tuple(text: str, depth: int) -> Node | None:
    """`(0, \\pm 2)`: two points."""
    return _plus_minus(text, depth) if text.startswith("(") else None


def _plus_minus(text: str, depth: int) -> Node | None:
    signs = _PLUS_MINUS.findall(text)
    if len(signs) != 1:
        return None
    items = tuple(_read(_PLUS_MINUS.sub(sign, text), depth + 1) for sign in ("+", "-"))
    return Group("list", items, text)
