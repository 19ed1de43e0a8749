"""Compares two single expressions without SymPy: spelling, numbers, times of day, ratios, options, words."""

import re
from dataclasses import dataclass
from fractions import Fraction

from spot_core.checker.notation import has_prose, is_words, same_spelling
from spot_core.checker.quantity import (
    ALTERING,
    compare_quantities,
    mentions_number,
    number_of_words,
    read_quantity,
)
from spot_core.checker.verdict import Decision

_MARKED = re.compile(
    r"(?:(?:the )?(?:correct )?(?:option|choice|answer)s?\s*(?:is|are)?\s*:?\s*)?"
    r"(?:\(\s*(?P<a>[A-Za-z])\s*\)|\[(?P<b>[A-Za-z])\]|(?P<c>[A-Za-z])(?=[).:]|$))[).:]?(?P<content>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(r"\(?[A-Z]\)?(?:(?:\s*(?:,|;|&|and|or)\s*|\s+)\(?[A-Z]\)?)+|[A-Z]{2,6}")


def chosen_letter(answer: str) -> tuple[str, str] | None:
    """The capital letter that a normalised answer begins with as an option's mark, and the text after it."""
    match = _MARKED.fullmatch(answer)
    if match is None:
        return None
    return (match["a"] or match["b"] or match["c"]).upper(), match["content"].strip()


def chosen_letters(answer: str) -> frozenset[str] | None:
    """All letters that a normalised answer names, None where it names no option."""
    if _SEVERAL.fullmatch(answer):
        return frozenset(re.findall(r"[A-Z]", re.sub(r"\b(?:and|or)\b", "", answer)))
    one = chosen_letter(answer)
    return None if one is None else frozenset(one[0])


_TIME = re.compile(
    r"(?:at )?(?P<hour>\d{1,2})(?:\s?[:.]\s?(?P<minute>[0-5]\d)(?:\s?:\s?[0-5]\d)?)?\s*(?P<half>[ap])\.?\s?m\.?|"
    r"(?P<sharp>\d{1,2})\s*o'?\s?clock|(?P<hour24>\d{1,2})\s?:\s?(?P<minute24>[0-5]\d)",
    re.IGNORECASE,
)
_NAMED = {"noon": 720, "midday": 720, "12 noon": 720, "midnight": 0, "12 midnight": 0}
HALF_DAY = 720


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in minutes after midnight; `certain`: False where it may be either half of the day."""

    minutes: int
    certain: bool

    def same_as(self, other: "Clock") -> bool:
        """Whether both can mean the same time."""
        period = 2 * HALF_DAY if self.certain and other.certain else HALF_DAY
        return (self.minutes - other.minutes) % period == 0


def read_clock(text: str) -> Clock | None:
    """The time of day that the normalised answer consists of, or None."""
    if (minutes := _NAMED.get(text.casefold())) is not None:
        return Clock(minutes, certain=True)
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute = (
        int(match["hour"] or match["sharp"] or match["hour24"]),
        int(match["minute"] or match["minute24"] or 0),
    )
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        return Clock(hour % 12 * 60 + minute + HALF_DAY * (match["half"].lower() == "p"), certain=True)
    return Clock(hour % 24 * 60 + minute, certain=hour > 12 or hour == 0) if hour <= 24 else None


_CAPITALS = re.compile("[A-Z]{3,8}")
_FIGURE = re.compile(r"\\(triangle|angle|odot|square|measuredangle)(?![A-Za-z])")
_LABELLED = re.compile(
    r"[A-Za-z][A-Za-z., ]{2,40}\d{1,9}(?:st|nd|rd|th)?(?:,? ?\d{1,9})?|\d{1,9}(?:st|nd|rd|th)? (?:of )?[A-Za-z]{3,20}(?:,? ?\d{1,9})?"
)
_BARE_RELATION = re.compile(r"[<>]|\\(?:leq|geq|neq)(?![A-Za-z])")
_NUMBERS = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|\.\d)")
_UNCHANGED = frozenset(
    "not no least most fewer negative about nearly almost between never without isn't from to".split()
)
"""With one of these words a sentence may say another number than the one that stands in it."""
_FILLERS = frozenset(["the", "of", "on", "in", "a", "st", "nd", "rd", "th"])
_NEGATIONS = frozenset(["not", "no", "non", "neither", "never", "none", "isn't"])


def compare_figures(answer: str, gold: str) -> Decision | None:
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


def compare_labelled(answer: str, gold: str) -> Decision | None:
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


def compare_sentences(answer: str, gold: str) -> Decision | None:
    """`There are 42 ways` confirms 42, where it is the only number; it refutes nothing."""
    wanted, words = read_quantity(gold), set(re.findall("[a-z']+", answer.casefold()))
    if wanted is None or not has_prose(answer) or not words.isdisjoint(_UNCHANGED | ALTERING):
        return None
    numbers = _NUMBERS.findall(answer)
    if len(numbers) != 1 or (number := read_quantity(numbers[0])) is None or number.value != wanted.value:
        return None
    plain = not re.search(r"[-+*/^_\\%]", answer.replace(numbers[0], ""))
    return ("correct", "sentence") if plain else None


def compare_relations(answer: str, gold: str) -> Decision | None:
    """`> 5` is no answer where the gold is 5."""
    bare = _BARE_RELATION.match(answer) and not _BARE_RELATION.match(gold)
    return ("incorrect", "relation") if bare and read_quantity(gold) is not None else None


def compare_words(answer: str, gold: str) -> Decision | None:
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
