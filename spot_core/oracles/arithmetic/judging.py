"""Whether a written equation holds, in the light of the text it stands in."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.expressions import Expression, Literal, Reading, evaluate, operators
from spot_core.oracles.arithmetic.givens import givens_of
from spot_core.oracles.arithmetic.links import links_between
from spot_core.oracles.arithmetic.misprints import Known, has_misprinted_operand
from spot_core.oracles.arithmetic.numbers import NotComputableError
from spot_core.oracles.arithmetic.other_readings import (
    PERCENT_FACTOR,
    is_meant_otherwise,
    is_same_value,
    is_within_operand_rounding,
)
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.units import Units, mixes_units


class Verdict(StrEnum):
    """Whether an equation holds. UNCLEAR: it does not as read, but it may be meant in another way."""

    TRUE = "true"
    FALSE = "false"
    UNCLEAR = "unclear"


# After an equation: its author asks, or corrects it at once.
_TAKEN_BACK = re.compile(
    r"[^\n.?]{0,40}(?:\?|[.\n ]+(?i:no\b|wait|hmm|oops|actually|sorry|that(?:'s| is) (?:not|wrong|incorrect)|but (?:that|this) is (?:not|wrong)))"
)


@dataclass(frozen=True)
class Judgement:
    """An equation with its verdict.

    `percent_is_hundredth`: how `%` is read in it: as a hundredth, unless only the plain reading makes it true:
    `20% of 50 = 10` and `15 / 60 = 25%` are hundredths, `15 / 60 * 100 = 25%` and `5% + 10% = 15%` are plain.
    `misprinted`: it is unclear because an operand may be the wrong number, and the result right.
    """

    equation: Equation
    verdict: Verdict
    percent_is_hundredth: bool
    misprinted: bool = False


@dataclass(frozen=True)
class _Fault:
    """A number that does not follow from what stands before it; `blurred` if another reading would make it right."""

    blurred: bool


@dataclass(frozen=True)
class _Context:
    """What the text around an equation says about it. `rounded`: results written with fewer digits than they have."""

    text: str
    units: Units
    known: Known
    rounded: frozenset[Rational] = frozenset()

    def rounds_to(self, result: Result, root: Expression, exact: Rational) -> bool:
        """Whether a wrong result is right if operands are taken for rounded ones."""
        return is_within_operand_rounding(result, root, exact, rounded=self.rounded, given=self.known.given)

    def takes_back(self, equation: Equation) -> bool:
        """Whether the text asks if an equation holds, or says right after it that it does not."""
        return _TAKEN_BACK.match(self.text, equation.end) is not None


def judge_all(equations: Iterable[Equation], text: str, question: str = "") -> list[Judgement]:
    """The judgements of a text's equations, in their order. `question`: what the text answers."""
    context = _Context(text, Units.of(f"{question}\n{text}"), Known(givens_of(question).values))
    judgements = []
    for equation in equations:
        judgements.append(_judged(equation, context))
        rounded = context.rounded.union(_rounded_results(judgements[-1]))
        context = replace(context, known=context.known.after(equation), rounded=rounded)
    return judgements


def _judged(equation: Equation, context: _Context) -> Judgement:
    hundredth = True
    try:
        faults = list(_faults(equation, True, context))
        if faults and equation.has_percent:
            plain = list(_faults(equation, False, context))
            if not plain or _is_sum_of_percentages(equation):
                hundredth, faults = False, plain
    except NotComputableError:
        return Judgement(equation, Verdict.UNCLEAR, hundredth)
    if not faults:
        return Judgement(equation, Verdict.TRUE, hundredth)
    unsure = hundredth and any(result.literal.percent for result in equation.results)
    if (
        unsure
        or context.units.other_base
        or context.takes_back(equation)
        or any(fault.blurred for fault in faults)
        or _adds_different_units(equation, context.text)
    ):
        return Judgement(equation, Verdict.UNCLEAR, hundredth)
    if has_misprinted_operand(equation, context.known, percent_is_hundredth=hundredth):
        return Judgement(equation, Verdict.UNCLEAR, hundredth, misprinted=True)
    return Judgement(equation, Verdict.FALSE, hundredth)


def _is_sum_of_percentages(equation: Equation) -> bool:
    """`100% - 13% = 87%`: nothing but percentages, added."""
    additive = not operators(equation.expressions[0].root) & {"*", "/", "^"}
    return additive and all(literal.percent for literal in equation.literals)


def _adds_different_units(equation: Equation, text: str) -> bool:
    """`2 hours + 30 minutes = 2.5 hours`, `$5 + 50 cents = $5.50`."""
    additive = any(operators(expression.root) & {"+", "-"} for expression in equation.expressions)
    dollars = {"$"} if "$" in text[max(0, equation.start - 1) : equation.end] else set()
    return additive and mixes_units(equation.units | dollars)


def _faults(equation: Equation, hundredth: bool, context: _Context) -> Iterator[_Fault]:
    expression = equation.expressions[0]
    base = evaluate(expression.root, percent_is_hundredth=hundredth)
    bases = [base]
    counted = False
    if not all(result.says(base) for result in equation.stated):
        yield _Fault(blurred=True)
    for member in equation.members[1:]:
        if isinstance(member, Reading):
            value = evaluate(member.root, percent_is_hundredth=hundredth)
            if not is_same_value(base, value, equation.expressions):
                yield from _faulty_links(expression, member, hundredth, context)
            expression, base = member, value
            bases.append(base)
            continue
        factor = PERCENT_FACTOR if member.literal.percent and hundredth else 1
        if any(member.says(value * factor) for value in bases):
            counted = True
        else:
            exact = base * factor
            # 3 + 2 = 5 boxes = 60 eggs: what follows a right result in other units is another quantity.
            yield _Fault(
                (counted and bool(member.reading.units))
                or is_meant_otherwise(member, exact, expression.root, context.units)
                or context.rounds_to(member, expression.root, exact)
            )


def _faulty_links(before: Reading, after: Reading, hundredth: bool, context: _Context) -> Iterator[_Fault]:
    """The simplifications that are wrong between two expressions of a chain; a blurred one if they are not built alike."""
    links = links_between(before.root, after.root)
    if links is None:
        yield _Fault(blurred=True)
        return
    for link in links:
        exact = evaluate(link.part, percent_is_hundredth=hundredth)
        said = simplified(link.literal)
        if not link.is_copy and not said.says(exact):
            yield _Fault(
                link.literal.percent
                or is_meant_otherwise(said, exact, link.part, context.units)
                or context.rounds_to(said, link.part, exact)
            )


def simplified(literal: Literal) -> Result:
    """A number inside an expression as what a text says that a part of the expression before is."""
    start = (literal.minus or literal.token).start
    return Result(Reading(literal, start, literal.token.end, units=frozenset(), tokens_read=1))


def _rounded_results(judgement: Judgement) -> Iterator[Rational]:
    """The results of a true equation that were written with fewer digits than they have."""
    if judgement.verdict is not Verdict.TRUE:
        return
    expression = judgement.equation.expressions[0].root
    try:
        exact = evaluate(expression, percent_is_hundredth=judgement.percent_is_hundredth)
    except NotComputableError:
        return
    for result in judgement.equation.results:
        factor = PERCENT_FACTOR if result.literal.percent and judgement.percent_is_hundredth else 1
        if result.written != exact * factor:
            yield result.written
