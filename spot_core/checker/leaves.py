"""Compares two single expressions without SymPy: spelling, numbers, times of day, ratios, options, words."""

import re
from dataclasses import replace
from fractions import Fraction

from spot_core.checker.choices import chosen_letter
from spot_core.checker.clock import read_clock
from spot_core.checker.notation import has_prose, is_words, same_spelling
from spot_core.checker.quantity import Quantity, in_unit_of, read_quantity

Decision = tuple[str, str]
"""(verdict, name of the rule that decided)"""

REPEATING_DIGITS = 4
"""A decimal with at least so many significant digits may stand for the fraction it rounds (0.3333 for 1/3)."""

_OPTION_LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(f"[{_OPTION_LETTERS}]")
_RATIO = re.compile(r"(?P<a>[^:]{1,40})(?::| to )(?P<b>[^:]{1,40})")
_BASED = re.compile(
    r"\(?(?P<digits>[0-9A-Fa-f]{1,60})\)?_\{?\s*(?:base )?(?P<base>\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\s*\}?"
)
_BASES = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
    "sixteen": 16,
}


def compare_leaves(answer: str, gold: str) -> Decision | None:
    """The decision on two normalised expressions, or None where only the engine can tell."""
    if not answer or not gold:
        return ("incorrect", "empty") if gold else ("ambiguous", "empty_gold")
    if same_spelling(answer, gold):
        return "correct", "normalised"
    for rule in (
        _compare_options,
        _compare_decimal_commas,
        _compare_numbers,
        _compare_clocks,
        _compare_ratios,
        _compare_based,
        _compare_words,
    ):
        if (decision := rule(answer, gold)) is not None:
            return decision
    return None


def _compare_numbers(answer: str, gold: str) -> Decision | None:
    given, wanted = read_quantity(answer), read_quantity(gold)
    return None if given is None or wanted is None else _compare_quantities(given, wanted)


def _compare_options(answer: str, gold: str) -> Decision | None:
    wanted = chosen_letter(gold)
    if wanted is None or not (_OPTION.fullmatch(gold) or (wanted[1] and wanted[0] in _OPTION_LETTERS)):
        return None
    letter, content = wanted
    if given := chosen_letter(answer):
        return ("correct" if given[0] == letter else "incorrect"), "option"
    if content:
        return compare_leaves(answer, content)
    # Without the list of options nobody can tell which one "12" is.
    return ("ambiguous", "option") if read_quantity(answer) is not None or is_words(answer) else None


def _compare_decimal_commas(answer: str, gold: str) -> Decision | None:
    """`1,22`: as an answer to 1.22 it can hardly be a list; as a gold answer it may be one."""
    if not (answer.count(",") + gold.count(",") == 1 and answer.replace(",", ".") == gold.replace(",", ".")):
        return None
    if read_quantity(answer) is not None and read_quantity(gold) is not None:
        return None  # the comma is a thousands separator
    return ("correct" if "," in answer and answer[0].isdigit() else "ambiguous"), "decimal_comma"


def _compare_clocks(answer: str, gold: str) -> Decision | None:
    given, wanted = read_clock(answer), read_clock(gold)
    if given is None or wanted is None:
        return None
    if given.same_as(wanted):
        return "correct", "clock"
    # 10:15 and 20:30 may both be ratios; with a.m. or p.m. they are not.
    may_be_ratios = answer[-1].isdigit() and gold[-1].isdigit() and _ratio(answer) == _ratio(gold)
    return None if may_be_ratios else ("incorrect", "clock")


def _compare_ratios(answer: str, gold: str) -> Decision | None:
    wanted, given = _ratio(gold), _ratio(answer)
    if wanted is None and given is None:
        return None
    certain = wanted is not None and given is not None
    if not certain:
        single = read_quantity(answer if wanted is not None else gold)
        if single is None:
            return None
        wanted, given = (wanted, single.value) if wanted is not None else (single.value, given)
    if wanted != given:
        return "incorrect", "ratio"
    timelike = read_clock(gold) is not None or read_clock(answer) is not None
    return ("correct" if certain or not timelike else "ambiguous"), "ratio"


def _ratio(text: str) -> Fraction | None:
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    first, second = read_quantity(match["a"].strip()), read_quantity(match["b"].strip())
    if first is None or second is None or second.value == 0:
        return None
    return first.value / second.value


def _compare_based(answer: str, gold: str) -> Decision | None:
    """Numbers in another base: `2011_{5}`; the base may be left out where the question names it."""
    wanted, given = _based(gold), _based(answer)
    if wanted is None:
        return None
    if given is None:
        return ("correct", "base") if answer.upper() == wanted[0] else None
    if given == wanted:
        return "correct", "base"
    if wanted[1] != given[1]:
        return ("ambiguous" if _value(wanted) == _value(given) is not None else "incorrect"), "base"
    return "incorrect", "base"


def _based(text: str) -> tuple[str, int] | None:
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    base = match["base"]
    return match["digits"].upper().lstrip("0") or "0", _BASES[base] if base in _BASES else int(base)


def _value(number: tuple[str, int]) -> int | None:
    digits, base = number
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits):
        return None
    return int(digits, base)


def _compare_words(answer: str, gold: str) -> Decision | None:
    """Words are compared as text, a word never equals a number."""
    for first, second in ((answer, gold), (gold, answer)):
        if (is_words(first) or first == r"\emptyset") and read_quantity(second) is not None:
            return "incorrect", "words"
    if has_prose(answer) and has_prose(gold) and is_words(answer) and is_words(gold):
        given, wanted = answer.casefold().split(), gold.casefold().split()
        # "even function" for "even" says more, not something else.
        related = len(given) != len(wanted) and (set(wanted) <= set(given) or set(given) <= set(wanted))
        return ("ambiguous" if related else "incorrect"), "words"
    return None


def _compare_quantities(given: Quantity, wanted: Quantity) -> Decision | None:
    if _same_unit(given.unit, wanted.unit) or not given.unit or not wanted.unit:
        decision = _compare_values(given, wanted)
        if (given.unit_certain and wanted.unit_certain) or given.unit == wanted.unit:
            return decision
        return ("ambiguous", "unit") if decision[0] == "correct" else None
    if (converted := in_unit_of(given, wanted)) is not None:
        verdict, _ = _compare_values(converted, wanted)
        if verdict == "incorrect" and _is_close(converted, wanted):
            verdict = "ambiguous"
        return verdict, "unit_conversion"
    if not (given.unit_certain and wanted.unit_certain):
        return None
    verdict, _ = _compare_values(given, wanted)
    return ("incorrect" if verdict == "incorrect" else "ambiguous"), "unit"


def _same_unit(first: str, second: str) -> bool:
    first, second = (
        " ".join(unit.casefold().replace(".", "").split()).rstrip("s") for unit in (first, second)
    )
    return first == second or {first, second} in _SAME_UNITS


_SAME_UNITS = [
    {"$", "dollar"},
    {"$", "usd"},
    {"usd", "dollar"},
    {"€", "euro"},
    {"€", "eur"},
    {"°", "degree"},
    {"°c", "celsiu"},
]


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
            verdict = "correct" if _digits(rounded) >= REPEATING_DIGITS else "ambiguous"
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


def _digits(decimal: Quantity) -> int:
    """Significant digits of a decimal."""
    return len(str(abs(decimal.value * 10 ** (decimal.decimals or 0))).lstrip("0"))


def decimal_of(text: str) -> Quantity | None:
    """The decimal number without unit that a normalised answer is, or None."""
    quantity = read_quantity(text)
    return None if quantity is None or not quantity.decimals else replace(quantity, unit="")
