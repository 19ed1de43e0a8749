"""Equations written in a text: `a op b = c`, chains `a op b = c = d`, GSM8K's `a op b = <<a*b=c>>c`; true or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import (
    Expression,
    Literal,
    Operation,
    Reading,
    evaluate,
    operators,
)
from spot_core.oracles.arithmetic.numbers import (
    NotComputableError,
    combine,
    is_written_form_of,
    style_of,
)
from spot_core.oracles.arithmetic.tokens import Kind, Token

# A result off by one of these factors is a change of unit (cents, minutes, dozens …) before it is a mistake.
PERCENT_FACTOR = 100
UNIT_FACTORS = (7, 12, 24, 30, 52, 60, 365, 1000, 3600)
APPROXIMATION = Rational(1, 200)  # how far two decimal expressions of one chain may lie apart, relative


class Verdict(StrEnum):
    """Whether an equation holds. UNCLEAR: it does not as read, but it may be meant in another way."""

    TRUE = "true"
    FALSE = "false"
    UNCLEAR = "unclear"


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
                if not _same_value(base, value, self.expressions):
                    return _Fault(blurred=True)
                expression, base = member, value
                continue
            exact = base * (PERCENT_FACTOR if member.literal.percent and hundredth else 1)
            if not member.says(exact):
                return _Fault(
                    blurred=_meant_otherwise(member, exact, self.expressions)
                    or _is_within_operand_rounding(member, expression, base)
                )
        return None


@dataclass(frozen=True, slots=True)
class _Fault:
    blurred: bool  # another reading of the text would make it right


def _same_value(left: Rational, right: Rational, expressions: list[Reading]) -> bool:
    if left == right:
        return True
    decimal = any("." in literal.token.text for reading in expressions for literal in reading.literals)
    return decimal and abs(left - right) <= abs(left) * APPROXIMATION


def _meant_otherwise(result: Result, exact: Rational, expressions: list[Reading]) -> bool:
    """Whether a wrong result has a reading in which it is right: sign left out, other unit, no precedence."""
    if result.written == -exact or result.written in _other_values(expressions[0]):
        return True
    if result.written == 0 or exact == 0:
        return False
    has_units = result.reading.has_units or any(expression.has_units for expression in expressions)
    factors = (PERCENT_FACTOR, *UNIT_FACTORS) if has_units else (PERCENT_FACTOR,)
    return any(result.written / exact in (factor, Rational(1, factor)) for factor in factors)


def _is_within_operand_rounding(result: Result, expression: Reading, base: Rational) -> bool:
    """`3.14159 * 18 = 56.54867`: the author went on with more digits of an operand than the text shows."""
    fewest = 2 if operators(expression.root) & {"*", "/", "^"} else 3
    reach = Rational(0)
    for literal in expression.literals:
        decimals = style_of(literal.token.text).decimals
        if decimals >= fewest:
            nudged = {literal.token.start: literal.written + Rational(1, 2 * 10**decimals)}
            reach += abs(evaluate(expression.root, nudged) - evaluate(expression.root))
    return reach > 0 and abs(result.written - base) <= reach + Rational(1, 2 * 10**result.decimals)


def _other_values(reading: Reading) -> list[Rational]:
    """Values of the expression if its author calculated from left to right, or divided by all that follows."""
    flat = _flattened(reading.root)
    if flat is None or len(flat[1]) < 2:
        return []
    numbers, signs = flat
    values: list[Rational] = []
    try:
        running = numbers[0]
        for sign, number in zip(signs, numbers[1:], strict=True):
            running = combine(sign, running, number)
        values.append(running)
        if signs[0] == "/" and set(signs[1:]) <= {"*"}:
            below = numbers[1]
            for number in numbers[2:]:
                below = below * number
            values.append(combine("/", numbers[0], below))
    except NotComputableError:
        return values
    return values


def _flattened(node: Expression) -> tuple[list[Rational], list[str]] | None:
    """Operands and operators in the order of the text; None if a sign or power groups them."""
    if isinstance(node, Literal):
        return [node.written / 100 if node.percent else node.written], []
    if node.left is None or node.operator == "^":
        return None
    left, right = _flattened(node.left), _flattened(node.right)
    if left is None or right is None:
        return None
    return left[0] + right[0], [*left[1], node.operator, *right[1]]


def as_result(reading: Reading) -> Result | None:
    """A reading as a result: a number, or a fraction of two numbers; None for any other expression."""
    root = reading.root
    if isinstance(root, Literal):
        return Result(reading)
    plain = isinstance(root, Operation) and root.operator == "/"
    if plain and isinstance(root.left, Literal) and isinstance(root.right, Literal) and not reading.has_units:
        return Result(reading) if root.right.written != 0 else None
    return None


def number_tokens(equation: Equation) -> list[Token]:
    """All tokens of numbers that stand in an equation."""
    readings = [m.reading if isinstance(m, Result) else m for m in (*equation.stated, *equation.members)]
    tokens = [literal.token for reading in readings for literal in reading.literals]
    assert all(token.kind is Kind.NUMBER for token in tokens)
    return tokens
