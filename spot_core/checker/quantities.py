"""Compares two numbers with what is written around them: units, percent signs, rounding."""

from dataclasses import replace
from fractions import Fraction

from spot_core.checker.quantity import Quantity, in_unit_of, read_quantity
from spot_core.checker.units import measure_of
from spot_core.checker.verdict import Decision

REPEATING_DIGITS = 4
"""A decimal with at least so many significant digits may stand for the fraction it rounds (0.3333 for 1/3)."""
SYMBOL_CHARS = 3
"""Longer units are words."""


def compare_quantities(given: Quantity, wanted: Quantity) -> Decision | None:
    """The decision on two numbers with their units, or None where a unit may be a product of variables."""
    if _plain(given.unit) == _plain(wanted.unit) or not given.unit or not wanted.unit:
        decision = _compare_values(given, wanted)
        if (given.unit_certain and wanted.unit_certain) or given.unit == wanted.unit:
            return decision
        return ("ambiguous", "unit") if decision[0] == "correct" else None
    if (converted := in_unit_of(given, wanted)) is not None:
        verdict, _ = _compare_values(converted, wanted)
        close = verdict == "incorrect" and _is_close(converted, wanted)
        return ("ambiguous" if close else verdict), "unit_conversion"
    return _compare_other_units(given, wanted) if given.unit_certain and wanted.unit_certain else None


def _compare_other_units(given: Quantity, wanted: Quantity) -> Decision:
    """The decision where one unit cannot be converted into the other."""
    if min(len(given.unit), len(wanted.unit)) > 1 and measure_of(given.unit) and measure_of(wanted.unit):
        return "incorrect", "unit"  # they measure different things
    first, second = set(_plain(given.unit).split()), set(_plain(wanted.unit).split())
    if first <= second or second <= first:
        return _compare_values(given, wanted)  # cookies, chocolate cookies
    return "ambiguous", "unit"


def _plain(unit: str) -> str:
    """The unit without plural and capitals; in symbols, capitals and an s have a meaning."""
    if len(unit) <= SYMBOL_CHARS:
        return unit
    return " ".join(word.rstrip("s") for word in unit.casefold().replace(".", "").split())


def _is_close(first: Quantity, second: Quantity) -> bool:
    return abs(first.value - second.value) * 100 < abs(second.value)


def _compare_values(given: Quantity, wanted: Quantity) -> Decision:
    if given.percent != wanted.percent:
        if _times_percent(given) == _times_percent(wanted):
            return "correct", "percent"
        if given.value == wanted.value:
            # "What percent …?" is answered by 28 as well as by 28 %; below 1 the reading matters.
            return ("correct", "percent_sign") if abs(given.value) >= 1 else ("ambiguous", "percent_sign")
    if given.value == wanted.value:
        return "correct", "numeric"
    for rounded, exact in ((given, wanted), (wanted, given)):
        if _is_rounding_of(rounded, exact):
            verdict = "correct" if significant_digits(rounded) >= REPEATING_DIGITS else "ambiguous"
            return verdict, "rounding"
        if _is_shortened(rounded, exact):
            return "ambiguous", "rounding"
    return "incorrect", "numeric"


def _is_shortened(short: Quantity, long: Quantity) -> bool:
    """Whether one decimal is the other one rounded to fewer digits, at least two (3.14 for 3.14159)."""
    if short.decimals is None or long.decimals is None or not 2 <= short.decimals < long.decimals:
        return False
    return round(long.value, short.decimals) == short.value


def _times_percent(quantity: Quantity) -> Fraction:
    return quantity.value / 100 if quantity.percent else quantity.value


def _is_rounding_of(rounded: Quantity, exact: Quantity) -> bool:
    """Whether a decimal is a fraction without a finite decimal form, rounded or cut to the digits it shows."""
    if not rounded.decimals or exact.decimals is not None or _is_finite_decimal(exact.value):
        return False
    step = Fraction(1, 10**rounded.decimals)
    cut = abs(exact.value) // step * step
    return (
        abs(rounded.value) in (cut, abs(round(exact.value, rounded.decimals)))
        and rounded.value * exact.value > 0
    )


def _is_finite_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def significant_digits(decimal: Quantity) -> int:
    """Significant digits of a decimal."""
    return len(str(abs(decimal.value * 10 ** (decimal.decimals or 0))).lstrip("0"))


def decimal_of(text: str) -> Quantity | None:
    """The decimal number without unit that a normalised answer is, or None."""
    quantity = read_quantity(text)
    return None if quantity is None or not quantity.decimals else replace(quantity, unit="")
