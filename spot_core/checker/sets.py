"""Reads intervals, their unions, inequalities, and sets that are described in words or by a condition."""

import re

from spot_core.checker.brackets import is_balanced, split_top
from spot_core.checker.nodes import Expression, Group, Node, Read, Union, value_of
from spot_core.checker.spans import Bound, Span, read_inequalities

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
