"""What a text says that an expression is: a number, a fraction of two numbers, or a mixed number."""

from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import Expression, Literal, Operation, Reading, evaluate
from spot_core.oracles.arithmetic.numbers import is_written_form_of, style_of

MAX_LINE = (
    3  # characters between the numbers of a fraction, ` / ` or `}{`: with words between them it is a rate
)


@dataclass(frozen=True, slots=True)
class Result:
    """A number to the right of an expression: what the text says the expression is.

    `approximate`: after `≈`, so that it may be rounded at any digit.
    """

    reading: Reading
    approximate: bool = False

    @property
    def literal(self) -> Literal:
        """The number; of a fraction, its numerator; of a mixed number, its whole part."""
        return self.reading.literals[0]

    @property
    def fraction(self) -> tuple[Literal, Literal] | None:
        """The numbers above and below the line if the result is written with a fraction."""
        literals = self.reading.literals
        return None if self.reading.is_number else (literals[-2], literals[-1])

    @property
    def is_mixed(self) -> bool:
        """Whether it is a whole number and a fraction."""
        return isinstance(self.reading.root, Operation) and self.reading.root.mixed

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
        if self.fraction is not None:
            return self.written == exact
        return is_written_form_of(self.written, self.decimals, exact)


def as_result(reading: Reading, *, approximate: bool = False) -> Result | None:
    """A reading as a result; None for any expression that still has to be calculated."""
    root = reading.root
    if isinstance(root, Literal):
        return Result(reading, approximate)
    written = (isinstance(root, Operation) and root.mixed) or _is_plain_fraction(root)
    return Result(reading, approximate) if written else None


def _is_plain_fraction(root: Expression) -> bool:
    return (
        isinstance(root, Operation)
        and root.operator == "/"
        and isinstance(root.left, Literal)
        and isinstance(root.right, Literal)
        and root.right.written != 0
        and root.right.token.start - root.left.token.end <= MAX_LINE
    )
