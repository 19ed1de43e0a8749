"""An equation written in a text: `a op b = c`, a chain `a op b = c = d`, GSM8K's `a op b = <<a*b=c>>c`."""

from dataclasses import dataclass

from spot_core.oracles.arithmetic.expressions import Literal, Reading
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.tokens import Kind, Token


@dataclass(frozen=True)
class Equation:
    """One written equation. `members` alternate freely: expressions, and the results that follow each.

    The first member is an expression. `stated` are numbers before it (`18 = 9 * 2`); they are checked, never corrected.
    """

    stated: tuple[Result, ...]
    members: tuple[Reading | Result, ...]

    def __post_init__(self) -> None:
        assert isinstance(self.members[0], Reading)

    @property
    def start(self) -> int:
        """Where its first member starts in the text."""
        return self._readings[0].start

    @property
    def end(self) -> int:
        """Where its last member ends in the text."""
        return self._readings[-1].end

    @property
    def expressions(self) -> list[Reading]:
        """The members that are expressions."""
        return [member for member in self.members if isinstance(member, Reading)]

    @property
    def results(self) -> list[Result]:
        """The members that are results."""
        return [member for member in self.members if isinstance(member, Result)]

    @property
    def literals(self) -> list[Literal]:
        """All its numbers, left to right."""
        return [literal for reading in self._readings for literal in reading.literals]

    @property
    def operands(self) -> list[Literal]:
        """The numbers of its first expression, left to right."""
        return self.expressions[0].literals

    @property
    def has_percent(self) -> bool:
        """Whether one of its numbers has a percent sign."""
        return any(literal.percent for literal in self.literals)

    @property
    def units(self) -> frozenset[str]:
        """The words between and after its numbers, in lower case."""
        return frozenset[str]().union(*(reading.units for reading in self._readings))

    @property
    def _readings(self) -> list[Reading]:
        members = (*self.stated, *self.members)
        return [member.reading if isinstance(member, Result) else member for member in members]


def number_tokens(equation: Equation) -> list[Token]:
    """All tokens of numbers that stand in an equation."""
    tokens = [literal.token for literal in equation.literals]
    assert all(token.kind is Kind.NUMBER for token in tokens)
    return tokens
