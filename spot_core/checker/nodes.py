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
