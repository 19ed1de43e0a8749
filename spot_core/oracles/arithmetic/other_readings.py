"""Other readings of an equation, in which what does not follow as written is meant and right all the same."""

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import Expression, Literal, Reading, evaluate, operators
from spot_core.oracles.arithmetic.numbers import NotComputableError, combine, style_of
from spot_core.oracles.arithmetic.results import Result

# A result off by one of these factors is a change of unit (cents, minutes, dozens …) before it is a mistake.
PERCENT_FACTOR = 100
UNIT_FACTORS = (7, 12, 24, 30, 52, 60, 365, 1000, 3600)
APPROXIMATION = Rational(1, 200)  # how far two decimal expressions of one chain may lie apart, relative


def is_same_value(left: Rational, right: Rational, expressions: list[Reading]) -> bool:
    """Whether two expressions of a chain are one value, or as good as one where the text has decimals."""
    if left == right:
        return True
    decimal = any("." in literal.token.text for reading in expressions for literal in reading.literals)
    return decimal and abs(left - right) <= abs(left) * APPROXIMATION


def is_meant_otherwise(result: Result, exact: Rational, expressions: list[Reading]) -> bool:
    """Whether a wrong result has a reading in which it is right: sign left out, other unit, no precedence."""
    if result.written == -exact or result.written in _other_values(expressions[0]):
        return True
    if result.written == 0 or exact == 0:
        return False
    has_units = result.reading.has_units or any(expression.has_units for expression in expressions)
    factors = (PERCENT_FACTOR, *UNIT_FACTORS) if has_units else (PERCENT_FACTOR,)
    return any(result.written / exact in (factor, Rational(1, factor)) for factor in factors)


def is_within_operand_rounding(result: Result, expression: Reading, base: Rational) -> bool:
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
