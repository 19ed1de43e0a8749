"""Numbers written in English words, as answers to word problems are: `twelve`, `a dozen`, `twenty-five`."""

import re

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_SMALL.split())}
_DECADES = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
SCALES = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
FRACTIONS = frozenset(
    "half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths eighth eighths ninth "
    "ninths tenth tenths hundredth hundredths thousandth thousandths".split()
)
_OTHERS = frozenset("none once twice thrice pair couple".split())
"""Words that say a number which is not read here, as those of fractions do."""
_SMALL_NUMBER = rf"(?:(?:{'|'.join(_DECADES)})(?: (?:{'|'.join(list(_UNITS)[1:10])}))?|{'|'.join(_UNITS)})"
_HUNDREDS = rf"(?:(?:a|{_SMALL_NUMBER}) (?:hundred|dozen)(?: (?:and )?{_SMALL_NUMBER})?|{_SMALL_NUMBER})"
_NUMBER = re.compile(
    rf"(?P<sign>(?:negative|minus) )?(?:(?P<high>a|{_HUNDREDS}) (?P<scale>thousand|million|billion|trillion)(?: (?:and )?(?P<low>{_HUNDREDS}))?|(?P<plain>{_HUNDREDS}))"
)
_MAX_CHARS = 100


def number_of_words(text: str) -> int | None:
    """The number that the words name, or None where they name none."""
    if len(text) > _MAX_CHARS:
        return None
    match = _NUMBER.fullmatch(" ".join(re.split(r"(?<=[a-z])-(?=[a-z])|\s+", text.casefold().strip())))
    if match is None:
        return None
    if match["plain"]:
        value = _below_thousand(match["plain"])
    else:
        value = _below_thousand(match["high"]) * SCALES[match["scale"]] + _below_thousand(
            match["low"] or "zero"
        )
    return -value if match["sign"] else value


def _below_thousand(text: str) -> int:
    value = 0
    for word in text.split():
        if word in SCALES:
            value *= SCALES[word]
        elif word != "and":
            value += 1 if word == "a" else _UNITS.get(word, _DECADES.get(word, 0))
    return value


def mentions_number(text: str) -> bool:
    """Whether any of the words is a number's or a fraction's."""
    words = set(re.findall("[a-z]+", text.casefold()))
    return not words.isdisjoint(_UNITS.keys() | _DECADES.keys() | SCALES.keys() | FRACTIONS | _OTHERS)
