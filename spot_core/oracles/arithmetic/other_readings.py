"""Other readings of an equation, in which what does not follow as written is meant and right all the same."""

from collections.abc import Collection
from math import floor

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import (
    Expression,
    Literal,
    Reading,
    evaluate,
    literals_of,
    operators,
)
from spot_core.oracles.arithmetic.numbers import NotComputableError, combine, style_of
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.units import Units

PERCENT_FACTOR = 100
APPROXIMATION = Rational(1, 200)  # how far two decimal expressions of one chain may lie apart, relative
LARGEST_ROUNDING = Rational(1, 10)  # how far what follows a `≈` may lie off, relative
_CONSTANTS = ("3.14", "3.142", "1.41", "1.414", "1.73", "1.732", "2.24", "2.72")
_ROUNDED_DENOMINATORS = (3, 6, 7, 9, 11, 12)  # of fractions that people write with a few decimals
_SURELY_ROUNDED_DECIMALS = 4


def is_same_value(left: Rational, right: Rational, expressions: list[Reading]) -> bool:
    """Whether two expressions of a chain are one value, or as good as one where the text has decimals."""
    if left == right:
        return True
    decimal = any("." in literal.token.text for reading in expressions for literal in reading.literals)
    return decimal and abs(left - right) <= abs(left) * APPROXIMATION


def is_meant_otherwise(result: Result, exact: Rational, root: Expression, units: Units) -> bool:
    """Whether a wrong result has a reading in which it is right: sign left out, other unit, no precedence, `≈`."""
    written = result.written
    counted_both_ends = exact < 0 and written == 1 - exact  # pages 10-15 are 6 pages
    if written == -exact or counted_both_ends or written in _other_values(root) or adds_percent(root):
        return True
    if result.approximate and abs(written - exact) <= abs(exact) * LARGEST_ROUNDING:
        return True
    if any(0 <= written <= cycle and (written - exact) % cycle == 0 for cycle in units.cycles):
        return True
    if written == 0 or exact == 0:
        return False
    # Only a number with decimals is taken for a rounded change of unit: any small number is near 11 / 12.
    says = result.says if result.decimals else written.__eq__
    return any(says(exact * factor) or says(exact / factor) for factor in units.factors)


def adds_percent(root: Expression) -> bool:
    """`100 - 20%`: of what the percentage is has to be guessed."""
    if isinstance(root, Literal):
        return False
    sides = [side for side in (root.left, root.right) if side is not None]
    if root.operator in "+-" and len(sides) == 2:
        percent = [any(literal.percent for literal in literals_of(side)) for side in sides]
        if percent[0] != percent[1]:
            return True
    return any(adds_percent(side) for side in sides)


def is_within_operand_rounding(
    result: Result,
    root: Expression,
    base: Rational,
    *,
    rounded: Collection[Rational],
    given: Collection[Rational],
) -> bool:
    """`3.14159 * 18 = 56.54867`: the author went on with more digits of an operand than the text shows.

    `rounded`: values that earlier steps of the text wrote with fewer digits than they have; `given`: exact ones.
    """
    fewest = 2 if operators(root) & {"*", "/", "^"} else 3
    reach = Rational(0)
    try:
        for literal in literals_of(root):
            decimals = style_of(literal.token.text).decimals
            exact = literal.written in given or literal.written * PERCENT_FACTOR in given
            by_looks = decimals >= fewest and not exact and _looks_rounded(literal, decimals)
            if by_looks or literal.written in rounded:
                nudged = {literal.token.start: literal.written + Rational(1, 10**decimals)}
                reach += abs(evaluate(root, nudged) - evaluate(root))
    except NotComputableError:
        return True
    return reach > 0 and abs(result.written - base) <= reach + Rational(1, 2 * 10**result.decimals)


def _looks_rounded(literal: Literal, decimals: int) -> bool:
    if decimals >= _SURELY_ROUNDED_DECIMALS or literal.token.text in _CONSTANTS:
        return True
    digit = Rational(1, 10**decimals)
    for denominator in _ROUNDED_DENOMINATORS:
        for numerator in (floor(literal.written * denominator), floor(literal.written * denominator) + 1):
            fraction = Rational(numerator, denominator)
            terminates = 10**decimals % fraction.q == 0
            # Cut off, or rounded to the nearest.
            if not terminates and -digit / 2 <= fraction - literal.written < digit:
                return True
    return False


def _other_values(root: Expression) -> list[Rational]:
    """Values of the expression if its author calculated from left to right, or all that follows first.

    `80 + 90 / 2 = 85`, `48 / 2 * 3 = 8`, `2 * 5 + 3 = 16`, `100 - 20 + 30 = 50`.
    """
    flat = _flattened(root)
    if flat is None or len(flat[1]) < 2:
        return []
    numbers, signs = flat
    values: list[Rational] = []
    try:
        running = numbers[0]
        for sign, number in zip(signs, numbers[1:], strict=True):
            running = combine(sign, running, number)
        values.append(running)
        rest_together = ("/", {"*"}), ("*", {"+", "-"}), ("/", {"+", "-"}), ("-", {"+"})
        if any(signs[0] == first and set(signs[1:]) <= others for first, others in rest_together):
            rest = numbers[1]
            for sign, number in zip(signs[1:], numbers[2:], strict=True):
                rest = combine(sign, rest, number)
            values.append(combine(signs[0], numbers[0], rest))
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
