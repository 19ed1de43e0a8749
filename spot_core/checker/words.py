"""Numbers written in English words, as answers to word problems are: `twelve`, `a dozen`, `twenty-five`."""

import re

_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: value for value, word in enumerate(_SMALL.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 1_000_000}
_MAX_WORDS = 8


def number_of_words(text: str) -> int | None:
    """The number that the words name, or None where they name none."""
    words = [word for word in re.split(r"[\s-]+", text.casefold()) if word and word != "and"]
    if not words or len(words) > _MAX_WORDS:
        return None
    if words[0] == "a":
        words[0] = "one"
    total = current = 0
    for number, word in enumerate(words):
        if word in _VALUES:
            current += _VALUES[word]
        elif word in _SCALES and number > 0:
            current *= _SCALES[word]
            if word in ("thousand", "million"):
                total, current = total + current, 0
        else:
            return None
    return None if words == ["one"] and text.casefold().strip() == "a" else total + current
