"""Equations written in a text: `a op b = c`, chains `a op b = c = d`, GSM8K's `a op b = <<a*b=c>>c`; true or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import Reading, evaluate, operators
from spot_core.oracles.arithmetic.numbers import NotComputableError
from spot_core.oracles.arithmetic.other_readings import (
    PERCENT_FACTOR,
    is_meant_otherwise,
    is_same_value,
    is_within_operand_rounding,
)
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.tokens import Kind, Token


class Verdict(StrEnum):
    """Whether an equation holds. UNCLEAR: it does not as read, but it may be meant in another way."""

    TRUE = "true"
    FALSE = "false"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Equation:
    """One written equation. `members` alternate freely: expressions, and the results that follow each.

    `stated` are numbers before the first expression (`18 = 9 * 2`); they are checked, never corrected.
    """

    stated: tuple[Result, ...]
    members: tuple[Reading | Result, ...]

    @property
    def start(self) -> int:
        """Where its first member starts in the text."""
        first = self.stated[0] if self.stated else self.members[0]
        return first.reading.start if isinstance(first, Result) else first.start

    @property
    def end(self) -> int:
        """Where its last member ends in the text."""
        last = self.members[-1]
        return last.reading.end if isinstance(last, Result) else last.end

    @property
    def expressions(self) -> list[Reading]:
        """The members that are expressions."""
        return [member for member in self.members if isinstance(member, Reading)]

    @property
    def results(self) -> list[Result]:
        """The members that are results."""
        return [member for member in self.members if isinstance(member, Result)]

    @cached_property
    def percent_is_hundredth(self) -> bool:
        """How `%` is read here: as a hundredth, unless only the plain reading makes the equation true.

        `20% of 50 = 10` and `15 / 60 = 25%` are hundredths, `15 / 60 * 100 = 25%` and `5% + 10% = 15%` plain.
        """
        if not self._has_percent:
            return True
        if self._first_fault(True) is None:
            return True
        if self._first_fault(False) is None:
            return False
        additive = not operators(self.expressions[0].root) & {"*", "/", "^"}
        return not (additive and all(result.literal.percent for result in self.results))

    @cached_property
    def verdict(self) -> Verdict:
        """Whether it holds as written."""
        try:
            fault = self._first_fault(self.percent_is_hundredth)
        except NotComputableError:
            return Verdict.UNCLEAR
        if fault is None:
            return Verdict.TRUE
        if fault.blurred or not self.results:
            return Verdict.UNCLEAR
        if self._has_percent and any(r.literal.percent for r in self.results) and self.percent_is_hundredth:
            return Verdict.UNCLEAR
        return Verdict.FALSE

    def exact_results(self, values: Mapping[int, Rational] | None = None) -> list[Rational]:
        """What each result should be (in its own written unit), from the expression before it.

        `values` replaces operands by the start of their token. Raises NotComputableError.
        """
        exact: list[Rational] = []
        base: Rational | None = None
        for member in self.members:
            if isinstance(member, Reading):
                base = evaluate(member.root, values, percent_is_hundredth=self.percent_is_hundredth)
            else:
                assert base is not None
                exact.append(base * (PERCENT_FACTOR if self._in_percent(member) else 1))
        return exact

    @property
    def _has_percent(self) -> bool:
        literals = [literal for member in self.expressions for literal in member.literals]
        return any(x.percent for x in literals + [result.literal for result in self.results])

    def _in_percent(self, result: Result) -> bool:
        return result.literal.percent and self.percent_is_hundredth

    def _first_fault(self, hundredth: bool) -> "_Fault | None":
        """The first member that does not follow from the ones before it, if any."""
        expression = self.expressions[0]
        base = evaluate(expression.root, percent_is_hundredth=hundredth)
        if not all(result.says(base) for result in self.stated):
            return _Fault(blurred=True)
        for member in self.members[1:]:
            if isinstance(member, Reading):
                value = evaluate(member.root, percent_is_hundredth=hundredth)
                if not is_same_value(base, value, self.expressions):
                    return _Fault(blurred=True)
                expression, base = member, value
                continue
            exact = base * (PERCENT_FACTOR if member.literal.percent and hundredth else 1)
            if not member.says(exact):
                return _Fault(
                    blurred=is_meant_otherwise(member, exact, self.expressions)
                    or is_within_operand_rounding(member, expression, base)
                )
        return None


@dataclass(frozen=True, slots=True)
class _Fault:
    blurred: bool  # another reading of the text would make it right


def number_tokens(equation: Equation) -> list[Token]:
    """All tokens of numbers that stand in an equation."""
    readings = [m.reading if isinstance(m, Result) else m for m in (*equation.stated, *equation.members)]
    tokens = [literal.token for reading in readings for literal in reading.literals]
    assert all(token.kind is Kind.NUMBER for token in tokens)
    return tokens
