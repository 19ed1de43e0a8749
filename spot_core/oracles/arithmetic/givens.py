"""The numbers a question gives, written in digits or in words, with the constants that its units bring along."""

import re
from collections import Counter

from sympy import Rational

from spot_core.oracles.arithmetic.tokens import Kind, tokenize

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_TENS = ["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

# Word → values it brings into a calculation.
WORD_VALUES: dict[str, tuple[Rational, ...]] = {
    **{word: (Rational(value),) for value, word in enumerate(_ONES)},
    **{word: (Rational(10 * value),) for value, word in enumerate(_TENS, start=3)},
    **dict.fromkeys(("twice", "double", "doubled", "pair", "pairs", "couple", "both"), (Rational(2),)),
    **dict.fromkeys(("half", "halves"), (Rational(2), Rational(1, 2))),
    **dict.fromkeys(("thrice", "triple", "tripled", "third", "thirds"), (Rational(3), Rational(1, 3))),
    **dict.fromkeys(("quarter", "quarters", "quadruple"), (Rational(4), Rational(1, 4), Rational(25))),
    **dict.fromkeys(("fifth", "fifths"), (Rational(5), Rational(1, 5))),
    **dict.fromkeys(("tenth", "tenths"), (Rational(10), Rational(1, 10))),
    **dict.fromkeys(("dozen", "dozens", "foot", "feet", "inches"), (Rational(12),)),
    **dict.fromkeys(("hundred", "hundreds", "percent", "cent", "cents", "century"), (Rational(100),)),
    **dict.fromkeys(("thousand", "thousands", "kilometers", "kilograms"), (Rational(1000),)),
    **dict.fromkeys(("million", "millions"), (Rational(10**6),)),
    **dict.fromkeys(("week", "weeks", "weekly"), (Rational(7), Rational(5), Rational(52), Rational(4))),
    **dict.fromkeys(("weekend", "weekends"), (Rational(2),)),
    **dict.fromkeys(("weekday", "weekdays"), (Rational(5),)),
    **dict.fromkeys(("day", "days", "daily"), (Rational(24), Rational(7), Rational(30), Rational(365))),
    **dict.fromkeys(("month", "months", "monthly"), (Rational(12), Rational(30), Rational(4))),
    **dict.fromkeys(("year", "years", "yearly", "annual"), (Rational(12), Rational(52), Rational(365))),
    **dict.fromkeys(("hour", "hours", "hourly", "minute", "minutes"), (Rational(60), Rational(24))),
    **dict.fromkeys(("pound", "pounds", "ounces"), (Rational(16),)),
    **dict.fromkeys(("yard", "yards"), (Rational(3),)),
    **dict.fromkeys(("average", "mean"), (Rational(2),)),
    **dict.fromkeys(("square", "rectangle", "perimeter"), (Rational(2), Rational(4))),
    **dict.fromkeys(("triangle",), (Rational(2), Rational(3))),
}
_WORD = re.compile(r"[a-z]+")


def given_values(text: str) -> Counter[Rational]:
    """Every value that a text brings into a calculation without calculating it, and how often it says it in digits.

    Values that only come with a word (`twice`, `week`) are there with a count of 0.
    """
    tokens = tokenize(text)
    values = Counter(token.value for token in tokens if token.value is not None)
    if any(token.kind is Kind.PERCENT for token in tokens):
        values.setdefault(Rational(100), 0)
    for word in _WORD.findall(text.lower()):
        for value in WORD_VALUES.get(word, ()):
            values.setdefault(value, 0)
    return values
