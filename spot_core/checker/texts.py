"""Compares answers that are words, or words with numbers: `Monday`, `May 14`, `There are 42 ways`, `\\angle ABC`."""

import re

from spot_core.checker.notation import has_prose, is_words
from spot_core.checker.quantity import ALTERING, read_quantity
from spot_core.checker.verdict import Decision
from spot_core.checker.words import mentions_number

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
