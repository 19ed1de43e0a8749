"""Compares two single expressions without SymPy: spelling, numbers, times of day, ratios, options, words."""

import re
from fractions import Fraction

from spot_core.checker.choices import chosen_letter
from spot_core.checker.clock import read_clock
from spot_core.checker.notation import is_words, same_spelling
from spot_core.checker.quantities import compare_quantities
from spot_core.checker.quantity import read_quantity
from spot_core.checker.texts import (
    compare_figures,
    compare_labelled,
    compare_relations,
    compare_sentences,
    compare_words,
)
from spot_core.checker.verdict import Decision
from spot_core.checker.words import number_of_words

_GOLD_OPTION = re.compile(r"([A-H])|\(?([A-H])[.)]\s+(\w.*)", re.DOTALL)
_RATIO = re.compile(r":| to ")
_BASED = re.compile(
    r"\(?(?P<digits>[0-9A-Fa-f]{1,60})\)?_\{?\s*(?:base )?(?P<base>\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\s*\}?"
)


def compare_leaves(answer: str, gold: str) -> Decision | None:
    """The decision on two normalised expressions, or None where only the engine can tell."""
    if not answer or not gold:
        return ("incorrect", "empty") if gold else ("ambiguous", "empty_gold")
    if same_spelling(answer, gold):
        return "correct", "normalised"
    return _compare_options(answer, gold) or _compare_contents(answer, gold)


def _compare_contents(answer: str, gold: str) -> Decision | None:
    for rule in (
        _compare_decimal_commas,
        _compare_numbers,
        _compare_clocks,
        _compare_ratios,
        _compare_based,
        compare_figures,
        compare_labelled,
        compare_sentences,
        compare_relations,
        compare_words,
    ):
        if (decision := rule(answer, gold)) is not None:
            return decision
    return None


def _compare_numbers(answer: str, gold: str) -> Decision | None:
    given, wanted = read_quantity(answer), read_quantity(gold)
    return None if given is None or wanted is None else compare_quantities(given, wanted)


def _compare_options(answer: str, gold: str) -> Decision | None:
    """Letters of options, where the gold is one, alone or with its text (`(C) 12`)."""
    wanted, marked = _GOLD_OPTION.fullmatch(gold), _GOLD_OPTION.fullmatch(answer)
    if wanted is None:
        # "(A) 12" where the gold is 12
        return _compare_marked(marked[3], gold) if marked and marked[3] else None
    if given := chosen_letter(answer):
        return ("correct" if given[0] == (wanted[1] or wanted[2]) else "incorrect"), "option"
    if content := (wanted[3] or "").strip():
        return _compare_marked(answer, content)
    # Without the list of options nobody can tell which one "12" is.
    return ("ambiguous", "option") if read_quantity(answer) is not None or is_words(answer) else None


def _compare_marked(answer: str, gold: str) -> Decision | None:
    """What stands behind an option's mark; further marks in it are not taken off."""
    answer, gold = answer.strip(), gold.strip()
    return ("correct", "normalised") if same_spelling(answer, gold) else _compare_contents(answer, gold)


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
        if wanted == given and " to " in answer + gold and _colons(answer) != _colons(gold):
            return "ambiguous", "ratio"  # 1 to 2 and 10 to 20: a ratio or a range
        return ("correct" if wanted == given else "incorrect"), "ratio"
    single = read_quantity(answer if wanted is not None else gold)
    ratio = wanted or given
    if single is None or ratio is None or len(ratio) != 2:
        return None
    if (single.value / 100 if single.percent else single.value) * ratio[1] != 1:
        return "incorrect", "ratio"
    timelike = read_clock(gold) is not None or read_clock(answer) is not None
    return ("ambiguous" if timelike else "correct"), "ratio"


def _colons(text: str) -> str:
    return "".join(text.replace(" to ", ":").split())


def _ratio(text: str) -> tuple[Fraction, ...] | None:
    """`2:4:6` as (1, 2, 3): the numbers over the first one."""
    parts = _RATIO.split(text)
    if not 2 <= len(parts) <= 6:
        return None
    quantities = [read_quantity(part.strip()) for part in parts]
    if any(quantity is None or quantity.value <= 0 for quantity in quantities):
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
    return match["digits"].upper().lstrip("0") or "0", int(base) if base.isdecimal() else number_of_words(
        base
    ) or 0


def _value(number: tuple[str, int]) -> int | None:
    digits, base = number
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits):
        return None
    return int(digits, base)
