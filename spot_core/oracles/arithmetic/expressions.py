"""Expressions of written numbers as trees, evaluated exactly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.numbers import combine
from spot_core.oracles.arithmetic.tokens import Token


@dataclass(frozen=True, slots=True)
class Literal:
    """A number in an expression. `minus` is the token of its sign, where it is written with one."""

    token: Token
    minus: Token | None = None
    percent: bool = False

    @property
    def written(self) -> Rational:
        """The signed value as written, before any percent."""
        assert self.token.value is not None
        return -self.token.value if self.minus else self.token.value


@dataclass(frozen=True, slots=True)
class Operation:
    """`left operator right`; a negated expression has no left. `mixed`: `2 1/2`, the sum of a whole number and a fraction."""

    operator: str
    left: "Expression | None"
    right: "Expression"
    mixed: bool = False


Expression = Literal | Operation


@dataclass(frozen=True, slots=True)
class Reading:
    """An expression and where it stands; `units` are the words between and after its numbers, in lower case."""

    root: Expression
    start: int
    end: int
    units: frozenset[str]
    tokens_read: int

    @property
    def is_number(self) -> bool:
        """Whether it is one number, without any operation."""
        return isinstance(self.root, Literal)

    @property
    def literals(self) -> list[Literal]:
        """Its numbers, left to right."""
        return list(literals_of(self.root))


def evaluate(
    node: Expression, values: Mapping[int, Rational] | None = None, *, percent_is_hundredth: bool = True
) -> Rational:
    """Exact value; `values` replaces signed numbers by the start of their token. Raises NotComputableError."""
    if isinstance(node, Literal):
        value = (values or {}).get(node.token.start, node.written)
        return value / 100 if node.percent and percent_is_hundredth else value
    right = evaluate(node.right, values, percent_is_hundredth=percent_is_hundredth)
    if node.left is None:
        return -right
    left = evaluate(node.left, values, percent_is_hundredth=percent_is_hundredth)
    return combine(node.operator, left, right)


def operators(node: Expression) -> set[str]:
    """The operators that occur in an expression."""
    if isinstance(node, Literal):
        return set()
    left = operators(node.left) if node.left else set()
    return left | {node.operator} | operators(node.right)


def literals_of(node: Expression) -> Iterator[Literal]:
    """The numbers of an expression, left to right."""
    if isinstance(node, Literal):
        yield node
    else:
        if node.left:
            yield from literals_of(node.left)
        yield from literals_of(node.right)
