"""The parts that answers are built of."""

from collections.abc import Callable
from dataclasses import dataclass

from spot_core.checker.spans import Span


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
