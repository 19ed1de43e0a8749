"""Intervals, and the inequalities in one variable that say the same."""

import re
from dataclasses import dataclass
from typing import Self

from spot_core.checker.brackets import split_top

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
