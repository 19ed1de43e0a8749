"""Compares an extracted answer with the gold answer without SymPy; decides the easy majority of rows."""

from fractions import Fraction

from spot_core.checker.notation import is_words, normalised, same_spelling
from spot_core.checker.quantity import Quantity, read_quantity, split_subject

Decision = tuple[str, str]
"""(verdict, name of the rule that decided)"""

MAX_GOLD_CHARS = 2_000
"""Longer golds are texts, no final answers; only the same text equals them."""
REPEATING_DIGITS = 4
"""A decimal with at least so many significant digits may stand for the fraction it rounds (0.3333 for 1/3)."""


def compare_fast(answer: str, gold: str) -> Decision | None:
    """The decision of the cheap rules, or None where only the engine can tell.

    Equal spelling and equal numbers are `correct`; two different plain numbers are `incorrect`.
    """
    if answer.strip() == gold.strip():
        return "correct", "exact"
    if len(gold) > MAX_GOLD_CHARS:
        return "ambiguous", "gold_too_long"
    answer, gold = normalised(answer), normalised(gold)
    return _compare_spelling(answer, gold) or _compare_contents(answer, gold)


def _compare_spelling(answer: str, gold: str) -> Decision | None:
    if not answer or not gold:
        return ("incorrect", "empty") if gold else ("ambiguous", "empty_gold")
    if same_spelling(answer, gold):
        return "correct", "normalised"
    if answer.replace(",", ".") == gold.replace(",", ".") and answer.count(",") + gold.count(",") == 1:
        return "ambiguous", "decimal_comma"
    return None


def _compare_contents(answer: str, gold: str) -> Decision | None:
    answer_subject, answer = split_subject(answer)
    gold_subject, gold = split_subject(gold)
    if answer_subject and gold_subject and answer_subject != gold_subject:
        return None
    given, wanted = read_quantity(answer), read_quantity(gold)
    if given is not None and wanted is not None:
        return _compare_quantities(given, wanted)
    if is_words(answer) and (wanted is not None or (is_words(gold) and " " in gold + answer)):
        return "incorrect", "words"
    return None


def _compare_quantities(given: Quantity, wanted: Quantity) -> Decision | None:
    # "5 hour" and "5 hours" are the same; "2 hours" and "120 minutes" may be.
    if given.unit and wanted.unit and given.unit.rstrip("s") != wanted.unit.rstrip("s"):
        return None
    decision = _compare_values(given, wanted)
    if given.unit_certain and wanted.unit_certain:
        return decision
    return ("ambiguous", "unit") if decision[0] == "correct" and given.unit != wanted.unit else None


def _compare_values(given: Quantity, wanted: Quantity) -> Decision:
    if given.percent != wanted.percent:
        if _times_percent(given) == _times_percent(wanted):
            return "correct", "percent"
        if given.value == wanted.value:
            # "What percent …?" is answered by 28 as well as by 28 %; below 1 the reading matters.
            return ("correct", "percent_sign") if abs(given.value) >= 1 else ("ambiguous", "percent_sign")
    if given.value == wanted.value:
        return "correct", "numeric"
    if _is_rounding_of(given, wanted) or _is_rounding_of(wanted, given):
        return (
            ("correct", "rounding")
            if _digits(given, wanted) >= REPEATING_DIGITS
            else ("ambiguous", "rounding")
        )
    if _is_shortened(given, wanted) or _is_shortened(wanted, given):
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
    return abs(rounded.value - exact.value) < Fraction(1, 10**rounded.decimals)


def _is_finite_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _digits(first: Quantity, second: Quantity) -> int:
    """Significant digits of whichever of the two is the decimal."""
    decimal = first if first.decimals is not None else second
    return len(str(abs(decimal.value * 10 ** (decimal.decimals or 0))).lstrip("0"))
