"""The numbers a question gives, written in digits or in words, with the constants that its units bring along."""

import re
from dataclasses import dataclass

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
_ORDINALS = {
    4: "fourth",
    5: "fifth",
    6: "sixth",
    7: "seventh",
    8: "eighth",
    9: "ninth",
    10: "tenth",
    12: "twelfth",
}
# Numbers that calculations use without a text having to give them: small ones, and those of calendar and clock.
CONSTANTS = frozenset(map(Rational, (*range(11), 12, 24, 52, 60, 100, 365, 1000)))

# Word → values it brings into a calculation.
WORD_VALUES: dict[str, tuple[Rational, ...]] = {
    **{word: (Rational(value),) for value, word in enumerate(_ONES)},
    **{word: (Rational(10 * value),) for value, word in enumerate(_TENS, start=3)},
    **dict.fromkeys(("twice", "double", "doubled", "pair", "pairs", "couple", "both"), (Rational(2),)),
    **dict.fromkeys(("half", "halves"), (Rational(2), Rational(1, 2))),
    **dict.fromkeys(("thrice", "triple", "tripled", "third", "thirds"), (Rational(3), Rational(1, 3))),
    **dict.fromkeys(("quarter", "quarters", "quadruple"), (Rational(4), Rational(1, 4), Rational(25))),
    **{
        form: (Rational(value), Rational(1, value))
        for value, word in _ORDINALS.items()
        for form in (word, f"{word}s")
    },
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


@dataclass(frozen=True)
class Givens:
    """What a question brings into a calculation. `digits`: its written numbers in their order."""

    values: frozenset[Rational]
    digits: tuple[Rational, ...]


def givens_of(question: str) -> Givens:
    """The numbers of a question, written in digits or in words, with the constants that its units bring along."""
    tokens = tokenize(question)
    digits = tuple(token.value for token in tokens if token.value is not None)
    values = set(digits)
    if any(token.kind is Kind.PERCENT for token in tokens):
        values.add(Rational(100))
    for word in _WORD.findall(question.lower()):
        values.update(WORD_VALUES.get(word, ()))
    return Givens(frozenset(values), digits)
