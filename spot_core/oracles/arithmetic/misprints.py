"""Operands that were written down wrongly: then the result is right, and the step only looks false."""

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.expressions import evaluate
from spot_core.oracles.arithmetic.givens import CONSTANTS
from spot_core.oracles.arithmetic.numbers import NotComputableError

MOST_KNOWN = 64  # latest values that an operand is compared with


@dataclass(frozen=True)
class Known:
    """The numbers that a step can be made of: those given, and the results before it, of which some are not `used` yet."""

    given: frozenset[Rational]
    results: tuple[Rational, ...] = ()
    used: frozenset[Rational] = frozenset()

    def after(self, equation: Equation) -> "Known":
        """With this equation's results, and without those that it uses."""
        results = (*self.results, *(result.written for result in equation.results))
        used = self.used.union(literal.written for literal in equation.operands)
        return Known(self.given, results[-MOST_KNOWN:], used)


def has_misprinted_operand(equation: Equation, known: Known, *, percent_is_hundredth: bool) -> bool:
    """Whether the results are right once one operand is another number that the step can be made of.

    `1,148 … 10 * 1,248 = 11,480`: an operand from nowhere may stand for any number before it, one that is known
    only for a result that nothing has used.
    """
    operands = {literal.written for literal in equation.operands}
    unused = set(known.results) - known.used - operands
    for literal in equation.operands:
        is_known = literal.written in known.given | CONSTANTS or literal.written in known.results
        others = unused if is_known else known.given.union(known.results)
        if _would_hold(equation, literal.token.start, others, percent_is_hundredth):
            return True
    return False


def _would_hold(equation: Equation, start: int, others: Iterable[Rational], hundredth: bool) -> bool:
    root = equation.expressions[0].root
    for other in others:
        try:
            exact = evaluate(root, {start: other}, percent_is_hundredth=hundredth)
        except NotComputableError:
            continue
        if equation.results and all(result.says(exact) for result in equation.results):
            return True
    return False
