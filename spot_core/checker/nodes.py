"""The mathematical objects that an answer may be, read from LaTeX: intervals, sets, inequalities, matrices, piecewise functions."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|[A-Za-z]+|.", re.DOTALL)
_OPENING = frozenset(["(", "[", "{", r"\{", r"\begin"])
_CLOSING = frozenset([")", "]", "}", r"\}", r"\end"])


def split_top(text: str, separators: Callable[[str], bool]) -> list[str]:
    """The parts between separators that stand outside all brackets and braces."""
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word in _OPENING:
            depth += 1
        elif word in _CLOSING:
            depth = max(0, depth - 1)
        elif depth == 0 and separators(word):
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


def is_enclosed(text: str, opening: int, closing: int) -> bool:
    """Whether the first bracket (of `opening` characters) closes with the last one."""
    depth = 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        depth += (word in _OPENING) - (word in _CLOSING)
        if depth == 0:
            return token.end() == len(text) and token.end() - token.start() == closing
    return False


def is_balanced(text: str) -> bool:
    """Whether every bracket closes, and none before it was opened."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token.group() in _OPENING) - (token.group() in _CLOSING)
        if depth < 0:
            return False
    return depth == 0


_RELATIONS = {"<": ("<", False), ">": (">", False), r"\leq": ("<", True), r"\geq": (">", True)}
_UNEQUAL = r"\neq"
_VARIABLE = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?|\\(?:alpha|beta|theta|lambda|phi|mu)|f ?\(x\)")
_ABSOLUTE = re.compile(r"(?:\\l?vert\s*|\|)\s*([A-Za-z])\s*(?:\\r?vert|\|)")
_POSITIVE = re.compile(r"\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\}|\d*\\sqrt\{\d+\}")
_LETTERS = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_INFINITE = re.compile(r"[-+]? ?\\infty")


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of an interval."""

    text: str
    closed: bool

    @classmethod
    def of(cls, text: str, *, closed: bool) -> Self | None:
        """The bound, or None where the text is an infinity."""
        return None if _INFINITE.fullmatch(text.strip()) else cls(text.strip(), closed)


@dataclass(frozen=True, slots=True)
class Span:
    """An interval; None: without bound on this side."""

    low: Bound | None
    high: Bound | None


def read_inequalities(text: str) -> list[Span]:
    """The intervals that inequalities in one variable describe; empty where the text is something else."""
    spans: list[Span] = []
    names: set[str] = set()
    for alternative in split_top(text, lambda word: word in ("or", r"\cup", r"\lor", r"\vee")):
        part: list[Span] | None = None
        for condition in split_top(alternative, lambda word: word in ("and", r"\land", r"\wedge")):
            read = _inequality(condition)
            if read is None:
                return []
            name, found = read
            names.add(name)
            if part is None:
                part = found
            elif len(found) == len(part) == 1 and (joined := _both(part[0], found[0])) is not None:
                part = [joined]
            else:
                return []
        spans += part or []
    return spans if len(names) == 1 else []


def _inequality(text: str) -> tuple[str, list[Span]] | None:
    """The variable and its intervals, for one condition such as `-1 < x \\leq 3`; None where it is something else."""
    relations: list[str] = []

    def is_relation(word: str) -> bool:
        if word in _RELATIONS or word == _UNEQUAL:
            relations.append(word)
            return True
        return False

    sides = split_top(text, is_relation)
    if len(sides) == 2 and (match := _ABSOLUTE.fullmatch(sides[0])) and _POSITIVE.fullmatch(sides[1]):
        return _absolute(match[1], relations[0], sides[1])
    variables = [position for position, side in enumerate(sides) if _VARIABLE.fullmatch(side)]
    limits = [side for position, side in enumerate(sides) if position not in variables]
    if len(sides) not in (2, 3) or len(variables) != 1 or (len(sides) == 3 and variables != [1]):
        return None
    if any(not side or _LETTERS.search(side) or "=" in side or "," in side for side in limits):
        return None
    if _UNEQUAL in relations:
        point = Bound(limits[0], closed=False)
        return (sides[variables[0]], [Span(None, point), Span(point, None)]) if len(sides) == 2 else None
    span = _span(sides, relations, variables[0])
    return None if span is None else (sides[variables[0]], [span])


def _absolute(variable: str, relation: str, limit: str) -> tuple[str, list[Span]] | None:
    """`|x| < 3` as -3 < x < 3."""
    if relation == _UNEQUAL:
        return None
    direction, closed = _RELATIONS[relation]
    low, high = Bound(f"-{limit}", closed), Bound(limit, closed)
    return variable, [Span(low, high)] if direction == "<" else [Span(None, low), Span(high, None)]


def _span(sides: list[str], relations: list[str], variable: int) -> Span | None:
    ends: dict[str, Bound | None] = {}
    for position, side in enumerate(sides):
        if position == variable:
            continue
        direction, closed = _RELATIONS[relations[min(position, variable)]]
        where = "low" if (direction == "<") == (position < variable) else "high"
        if where in ends:
            return None  # a < x > b
        ends[where] = Bound.of(side, closed=closed)
    return Span(ends.get("low"), ends.get("high"))


def _both(first: Span, second: Span) -> Span | None:
    """`x > a` and `x < b` as one interval; None where both bound the same side."""
    if (first.low and second.low) or (first.high and second.high):
        return None
    return Span(first.low or second.low, first.high or second.high)


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
Read = Callable[[str], Node]
"""Reads a part of a text."""


def value_of(node: Node) -> Node:
    """The node without its name."""
    return node.value if isinstance(node, Named) else node


def by_name(group: Group) -> dict[str, Node] | None:
    """The values of `x = 1, y = 2` by name; None where a name is missing or one letter (`x_1, x_2`) comes twice."""
    named = [item for item in group.items if isinstance(item, Named)]
    letters = {item.name.partition("_")[0] for item in named}
    if len(letters) < len(group.items):
        return None
    return {item.name: item.value for item in named}


def flattened(group: Group) -> tuple[Node, ...]:
    """The items, those of lists within lists (`1, ±2`) among them."""
    items: list[Node] = []
    for item in group.items:
        inner = value_of(item)
        items += flattened(inner) if isinstance(inner, Group) and inner.kind == "list" else (item,)
    return tuple(items)


def distinct(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """The items without those that are written as an earlier one."""
    return tuple({"".join(item.text.split()): item for item in items}.values())


_MATRIX = re.compile(
    r"\\begin\s*\{([pbB]?matrix|smallmatrix|array|cases)\}(?:\s*\{[lcr| ]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_NESTED_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\]\s*(?:,\s*\[[^\[\]]*\]\s*)*)\]")
_CONDITION = re.compile(r"^\s*(?:if|for|when|where)\b")


def read_matrix(text: str, read: Read) -> Node | None:
    if match := _MATRIX.fullmatch(text):
        if r"\begin" in match[2]:
            return None  # a product of matrices, or a matrix of matrices
        lines = [line for line in match[2].split(r"\\") if line.strip()]
        if match[1] == "cases":
            return _piecewise(lines, text, read)
        cells: Iterator[list[str]] = (split_top(line, lambda word: word == "&") for line in lines)
    elif match := _NESTED_ROWS.fullmatch(text):
        cells = (row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", match[1]))
    else:
        return None
    return Matrix(tuple(tuple(read(cell) for cell in row) for row in cells), text)


def _piecewise(lines: list[str], text: str, read: Read) -> Node | None:
    """Pairs of value and condition, in whatever order."""
    rows = [split_top(line, lambda word: word == "&") for line in lines]
    if any(len(row) != 2 for row in rows):
        return None
    pairs = [(value.rstrip(", "), _CONDITION.sub("", condition).rstrip(",. ")) for value, condition in rows]
    items = (tuple(read(part) for part in pair) for pair in pairs)
    return Group("set", tuple(Group("tuple", item, text) for item in items), text)


MAX_MEMBER_CHARS = 60
_INTERVAL_ENDS = frozenset(["[]", "[)", "(]", "][", "]]", "[["])
"""The French notation turns the bracket of an open end around: `]0, 1[`."""
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


def read_set_in_words(text: str, read: Read) -> Node | None:
    """Sets that have names."""
    for pattern, name in (
        (_EMPTY, r"\emptyset"),
        (_ALL_REALS, r"\mathbb{R}"),
        (_ALL_INTEGERS, r"\mathbb{Z}"),
    ):
        if pattern.fullmatch(text):
            return Expression(name)
    if match := _ALL_BUT.fullmatch(text):
        return _without_points(match[1], text, read)
    return None


def read_inequality(text: str, read: Read) -> Node | None:
    spans = read_inequalities(text)
    return Union(tuple(spans), text) if spans else None


def read_interval(text: str, read: Read) -> Node | None:
    ends = text[0] + text[-1] if len(text) > 1 else ""
    if ends not in _INTERVAL_ENDS:
        return None
    inner = text[1:-1]
    bounds = split_top(inner, lambda word: word in (",", ";"))
    if len(bounds) != 2 or not all(bounds) or not is_balanced(inner):
        return None
    low, high = Bound.of(bounds[0], closed=ends[0] == "["), Bound.of(bounds[1], closed=ends[1] == "]")
    return Union((Span(low, high),), text)


def read_union(text: str, read: Read) -> Node | None:
    parts = split_top(text, lambda word: word == r"\cup")
    if len(parts) > 1:
        spans = [span for part in parts for span in _spans_of(read(part))]
        return Union(tuple(spans), text) if len(spans) >= len(parts) else None
    whole, *without = split_top(text, lambda word: word in (r"\setminus", r"\backslash"))
    if whole == r"\mathbb{R}" and len(without) == 1:
        return _without_points(without[0], text, read)
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


def _without_points(points: str, text: str, read: Read) -> Node | None:
    """The real line without one point."""
    removed = read(points)
    items = removed.items if isinstance(removed, Group) else (value_of(removed),)
    if len(items) != 1 or not isinstance(items[0], Expression):
        return None
    point = Bound(items[0].text, closed=False)
    return Union((Span(None, point), Span(point, None)), text)


def read_built_set(inner: str, text: str) -> Node | None:
    """`\\{x \\mid x > 3\\}` as the interval it describes; any other set with a condition stays one expression."""
    for mark in (r"\mid", "|", ":"):
        member, *conditions = split_top(inner, lambda word, m=mark: word == m)
        if conditions:
            spans = (
                read_inequalities(conditions[0])
                if len(conditions) == 1 and len(member) < MAX_MEMBER_CHARS
                else []
            )
            return Union(tuple(spans), text) if spans else Expression(text)
    return None
