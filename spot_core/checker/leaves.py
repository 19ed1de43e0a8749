"""Compares two single expressions without SymPy: spelling, numbers, times of day, ratios, options, words."""

import re
from dataclasses import replace
from fractions import Fraction

from spot_core.checker.choices import chosen_letter
from spot_core.checker.clock import read_clock
from spot_core.checker.notation import has_prose, is_words, same_spelling
from spot_core.checker.quantity import ALTERING, Quantity, in_unit_of, read_quantity
from spot_core.checker.units import measure_of
from spot_core.checker.words import mentions_number

Decision = tuple[str, str]
"""(verdict, name of the rule that decided)"""

REPEATING_DIGITS = 4
"""A decimal with at least so many significant digits may stand for the fraction it rounds (0.3333 for 1/3)."""

_GOLD_OPTION = re.compile(r"([A-H])|\(?([A-H])[.)]\s+(\w.*)", re.DOTALL)
_CAPITALS = re.compile("[A-Z]{3,8}")
_RATIO = re.compile(r":| to ")
_FIGURE = re.compile(r"\\(triangle|angle|odot|square|measuredangle)(?![A-Za-z])")
_LABELLED = re.compile(
    r"[A-Za-z][A-Za-z., ]{2,40}\d{1,9}(?:st|nd|rd|th)?(?:,? ?\d{1,9})?|\d{1,9}(?:st|nd|rd|th)? (?:of )?[A-Za-z]{3,20}(?:,? ?\d{1,9})?"
)
_BARE_RELATION = re.compile(r"[<>]|\\(?:leq|geq|neq)(?![A-Za-z])")
_NUMBERS = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|\.\d)")
_UNCHANGED = frozenset(
    "not no least most fewer negative about nearly almost between never without isn't from to".split()  # noqa: SIM905
)
"""With one of these words a sentence may say another number than the one that stands in it."""
_FILLERS = frozenset(["per", "square", "cubic", "sq", "the", "of", "on", "in", "a", "st", "nd", "rd", "th"])
_NEGATIONS = frozenset(["not", "no", "non", "neither", "never", "none", "isn't"])
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
        _compare_figures,
        _compare_labelled,
        _compare_sentences,
        _compare_relations,
        _compare_words,
    ):
        if (decision := rule(answer, gold)) is not None:
            return decision
    return None


def _compare_numbers(answer: str, gold: str) -> Decision | None:
    given, wanted = read_quantity(answer), read_quantity(gold)
    return None if given is None or wanted is None else _compare_quantities(given, wanted)


def _compare_options(answer: str, gold: str) -> Decision | None:
    """Letters of options, where the gold is one, alone or with its text (`(C) 12`)."""
    wanted, marked = _GOLD_OPTION.fullmatch(gold), _GOLD_OPTION.fullmatch(answer)
    if wanted is None:
        # "(A) 12" where the gold is 12
        return compare_leaves(marked[3].strip(), gold) if marked and marked[3] else None
    if given := chosen_letter(answer):
        return ("correct" if given[0] == (wanted[1] or wanted[2]) else "incorrect"), "option"
    if content := (wanted[3] or "").strip():
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
    if wanted is not None and given is not None:
        return ("correct" if wanted == given else "incorrect"), "ratio"
    single = read_quantity(answer if wanted is not None else gold)
    ratio = wanted or given
    if single is None or ratio is None or len(ratio) != 2:
        return None
    if single.value * ratio[1] != 1:
        return "incorrect", "ratio"
    timelike = read_clock(gold) is not None or read_clock(answer) is not None
    return ("ambiguous" if timelike else "correct"), "ratio"


def _ratio(text: str) -> tuple[Fraction, ...] | None:
    """`2:4:6` as (1, 2, 3): the numbers over the first one."""
    parts = _RATIO.split(text)
    if not 2 <= len(parts) <= 6:
        return None
    quantities = [read_quantity(part.strip()) for part in parts]
    if any(quantity is None or quantity.value == 0 for quantity in quantities):
        return None
    return tuple(quantity.value / quantities[0].value for quantity in quantities)


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


def _compare_figures(answer: str, gold: str) -> Decision | None:
    """Geometric figures by their names: `\\angle ABC`, `\\triangle ABC`."""
    given, wanted = set(_FIGURE.findall(answer)), set(_FIGURE.findall(gold))
    if not given and not wanted:
        return None
    if given != wanted and given and wanted:
        return "incorrect", "figure"
    names = [_FIGURE.sub("", text).strip() for text in (answer, gold)]
    if not all(name.isalpha() for name in names):
        return None
    return ("incorrect", "figure") if sorted(names[0]) != sorted(names[1]) else ("ambiguous", "figure")


def _compare_sentences(answer: str, gold: str) -> Decision | None:
    """`There are 42 ways` confirms 42, where it is the only number; it refutes nothing."""
    wanted, words = read_quantity(gold), set(re.findall("[a-z']+", answer.casefold()))
    if wanted is None or not has_prose(answer) or not words.isdisjoint(_UNCHANGED | ALTERING):
        return None
    numbers = _NUMBERS.findall(answer)
    if len(numbers) != 1 or (number := read_quantity(numbers[0])) is None or number.value != wanted.value:
        return None
    plain = not re.search(r"[-+*/^_\\%]", answer.replace(numbers[0], ""))
    return ("correct", "sentence") if plain else None


def _compare_labelled(answer: str, gold: str) -> Decision | None:
    """Words with numbers, such as `May 14` and `Student 3`."""
    parts = []
    for text in (answer, gold):
        words = {word for word in re.findall("[a-z]+", text.casefold()) if word not in _FILLERS}
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        if not _LABELLED.fullmatch(text) or not words or not numbers:
            return None
        parts.append((words, numbers))
    (given, figures), (wanted, wanted_figures) = parts
    if figures == wanted_figures and given == wanted:
        return "correct", "labelled"
    if sorted(figures) != sorted(wanted_figures) or given.isdisjoint(wanted):
        return "incorrect", "labelled"
    return "ambiguous", "labelled"


def _compare_relations(answer: str, gold: str) -> Decision | None:
    """`> 5` is no answer where the gold is 5."""
    bare = _BARE_RELATION.match(answer) and not _BARE_RELATION.match(gold)
    return ("incorrect", "relation") if bare and read_quantity(gold) is not None else None


def _compare_words(answer: str, gold: str) -> Decision | None:
    """Words are compared as text, a word never equals a number."""
    for first, second in ((answer, gold), (gold, answer)):
        if (is_words(first) or first == r"\emptyset") and read_quantity(second) is not None:
            # "three quarters" may be a number that is not read here.
            return ("ambiguous" if mentions_number(first) else "incorrect"), "words"
    if _CAPITALS.fullmatch(answer) and _CAPITALS.fullmatch(gold):
        return ("ambiguous" if sorted(answer) == sorted(gold) else "incorrect"), "words"
    if has_prose(answer) and has_prose(gold) and is_words(answer) and is_words(gold):
        given, wanted = answer.casefold().split(), gold.casefold().split()
        if _NEGATIONS.isdisjoint(given) != _NEGATIONS.isdisjoint(wanted):
            return "incorrect", "negation"
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
    if min(len(given.unit), len(wanted.unit)) > 1 and measure_of(given.unit) and measure_of(wanted.unit):
        return "incorrect", "unit"  # they measure different things
    return "ambiguous", "unit"


def _same_unit(first: str, second: str) -> bool:
    if first == second:
        return True
    if min(len(first), len(second)) <= SYMBOL_CHARS:
        return False  # in symbols, capitals and an s have a meaning
    given, wanted = (
        {w.rstrip("s") for w in re.findall("[a-z]{4,}", unit.casefold())} for unit in (first, second)
    )
    return not given.isdisjoint(wanted - _FILLERS)  # cookies, chocolate cookies


SYMBOL_CHARS = 3


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
