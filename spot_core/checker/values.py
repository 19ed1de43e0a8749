"""Compares SymPy expressions by their numbers: math-verify rounds, so that two numbers below 1e-15 are equal to it."""

from sympy import Basic, Equality, Expr, Float, I, Integer, MatrixBase, Number, Rational, Symbol
from sympy.core.relational import Relational

from spot_core.checker.quantities import decimal_of, significant_digits

DIGITS = 50
"""Decimal digits of numeric comparisons; answers are a few powers and roots, so that many are right."""
TOLERANCE = 10.0**-35
FLOAT_TOLERANCE = 1e-9
"""For expressions with a decimal in them, such as 2^{0.5}."""
_SAMPLES = ("0.7390851332", "1.3247179572", "0.3678794412", "2.6651441427", "1.7632228344")
"""Sizes of values for variables, none of them special."""


def same_symbols(*expressions: Basic | MatrixBase) -> list[Basic | MatrixBase]:
    """With equal symbols for equal names, i as the imaginary unit, and odd roots of negative numbers as real ones.

    Where an expression looks complex to the parser, it makes other symbols.
    """
    replaced = []
    for expression in expressions:
        symbols = {s: I if s.name == "i" else Symbol(s.name, real=True) for s in expression.atoms(Symbol)}
        changed = expression.xreplace(symbols) if symbols else expression
        replaced.append(changed.replace(_is_odd_root, _real_root) if isinstance(changed, Expr) else changed)
    return replaced


def _is_odd_root(expression: Basic) -> bool:
    return (
        bool(
            expression.is_Pow
            and expression.base.is_negative
            and expression.exp.is_Rational
            and expression.exp.q % 2
        )
        and expression.exp.q > 1
    )


def _real_root(power: Expr) -> Expr:
    return (-1) ** power.exp.p * (-power.base) ** power.exp


def numerically_equal(
    first: Basic | MatrixBase, second: Basic | MatrixBase, signs: tuple[int, ...] = (1,) * 5
) -> bool | None:
    """Whether two expressions have the same values; None where they have none that can be compared."""
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return None
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(symbols) > len(_SAMPLES):
        return None
    if not symbols and (first := first.doit()).is_Rational and (second := second.doit()).is_Rational:
        return first == second
    tolerance = FLOAT_TOLERANCE if first.atoms(Float) or second.atoms(Float) else TOLERANCE
    for shift in range(len(_SAMPLES) if symbols else 1):
        places = [(position + shift) % len(_SAMPLES) for position in range(len(symbols))]
        values = {
            symbol: signs[place] * Number(_SAMPLES[place])
            for symbol, place in zip(symbols, places, strict=True)
        }
        here, there = number_of(first, values), number_of(second, values)
        if here is None or there is None:
            return None
        if abs(here - there) > tolerance * max(abs(here), abs(there)):
            return False
    return True


def number_of(expression: Expr, values: dict[Basic, Number]) -> Expr | None:
    value = expression.doit().evalf(DIGITS, subs=values)
    return value if value.is_number and value.is_finite and abs(value).is_comparable else None


def equal_at_integers(first: Expr, second: Expr) -> bool:
    """Whether both agree where their variables are integers, as the letters n, k and m say: (-1)^n and cos(nπ)."""
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(symbols) != 1 or symbols[0].name not in ("n", "k", "m"):
        return False
    for integer in range(1, 8):
        here, there = (number_of(e, {symbols[0]: Integer(integer)}) for e in (first, second))
        if here is None or there is None or abs(here - there) > TOLERANCE * max(abs(here), abs(there)):
            return False
    return True


def digits_of_approximation(decimal: str, exact: Basic | MatrixBase) -> int:
    """Significant digits of a decimal that is the rounded (or cut) value of an expression; 0 where it is not."""
    quantity = decimal_of(decimal)
    if quantity is None or not isinstance(exact, Expr) or exact.free_symbols or exact.is_real is False:
        return 0
    value = number_of(exact, {})
    close = value is not None and abs(value - Rational(quantity.value)) < Rational(1, 10**quantity.decimals)
    return significant_digits(quantity) if close else 0


def same_solutions(first: Basic | MatrixBase, second: Basic | MatrixBase) -> bool:
    """Whether two inequalities in one variable describe the same set."""
    if not all(isinstance(e, Relational) and not isinstance(e, Equality) for e in (first, second)):
        return False
    if len(first.free_symbols | second.free_symbols) != 1:
        return False
    try:
        return first.as_set() == second.as_set()
    except NotImplementedError:
        return False
