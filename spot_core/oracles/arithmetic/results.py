"""What a text says that an expression is: a number, or a fraction of two numbers."""

from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import Literal, Operation, Reading, evaluate
from spot_core.oracles.arithmetic.numbers import is_written_form_of, style_of


@dataclass(frozen=True, slots=True)
class Result:
    """A number to the right of an expression: what the text says the expression is."""

    reading: Reading

    @property
    def literal(self) -> Literal:
        """The number; of a fraction, its numerator."""
        return self.reading.literals[0]

    @property
    def denominator(self) -> Literal | None:
        """The number below the line if the result is written as a fraction."""
        return None if self.reading.is_number else self.reading.literals[1]

    @property
    def written(self) -> Rational:
        """Its signed value as written, before any percent."""
        return evaluate(self.reading.root, percent_is_hundredth=False)

    @property
    def decimals(self) -> int:
        """Digits after its point."""
        return style_of(self.literal.token.text).decimals

    def says(self, exact: Rational) -> bool:
        """Whether it is `exact`, up to the rounding that its digits show."""
        if self.denominator is not None:
            return self.written == exact
        return is_written_form_of(self.written, self.decimals, exact)


def as_result(reading: Reading) -> Result | None:
    """A reading as a result: a number, or a fraction of two numbers; None for any other expression."""
    root = reading.root
    if isinstance(root, Literal):
        return Result(reading)
    plain = isinstance(root, Operation) and root.operator == "/"
    if plain and isinstance(root.left, Literal) and isinstance(root.right, Literal) and not reading.has_units:
        return Result(reading) if root.right.written != 0 else None
    return None
