"""Changes of unit that a text makes without saying so: a result in them is no mistake."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# A result off by such a factor is a change of unit before it is a mistake, where one of the words is in the text.
_UNIT_FACTORS: dict[int, str] = {
    3: "yards? feet foot ft",
    4: "quarters? quarts? gallons? weeks? months?",
    7: "weeks? days? weekly daily",
    8: "ounces? cups? pints?",
    10: "dimes? cm mm centimeters? millimeters? decades?",
    12: "dozens? inch inches feet foot ft months? years? yearly monthly annual",
    16: "ounces? pounds? lbs? cups?",
    24: "hours? days? daily",
    30: "days? months? monthly",
    36: "yards? inch inches",
    52: "weeks? years? weekly yearly annual",
    60: "seconds? minutes? hours? secs? mins? hrs? hourly",
    100: "percent percentage cents? centimeters? meters? metres? cm m dollars? %",
    365: "days? years? daily yearly",
    1000: "grams? g kg kilograms? kilos? meters? metres? m km kilometers? mg ml liters? litres? l thousands? k tons?",
    3600: "seconds? hours? mph",
    5280: "miles? feet ft",
    10**6: "millions?",
}
# A result off by such a difference goes round a circle: hours of the day, days of the week, degrees, seasons.
_CYCLES: dict[int, str] = {
    7: "mod modulo monday tuesday wednesday thursday friday saturday sunday",
    12: "mod modulo am pm noon midnight clock o'clock",
    24: "mod modulo am pm noon midnight clock",
    360: "mod modulo degrees degree ° \\circ",
}
# Words of one line measure the same thing. What is added up in two of them is in neither.
_MEASURES = (
    "seconds? minutes? hours? days? weeks? months? years? secs? mins? hrs? decades?",
    "inch inches in foot feet ft yards? yd miles? mm cm m km meters? metres? centimeters? millimeters? kilometers?",
    "ounces? oz pounds? lbs? tons? grams? g kg kilograms? kilos? mg milligrams?",
    "teaspoons? tablespoons? cups? pints? quarts? gallons? ml liters? litres? l milliliters?",
    "cents? dollars? penny pennies nickels? dimes? quarters? bills?",
)
# What is counted in them may be added to other things: 2 dozen + 3, 3 quarters + 5.
_SETS = frozenset(
    "pair pairs couple couples dozen dozens set sets quarter quarters dime dimes nickel nickels".split()
)
_OTHER_BASE = re.compile(
    r"(?i)\b(?:binary|octal|hexadecimal|(?:in|to) base|base[ -]?(?:[0-9]|two|three|five|eight|sixteen))\b"
)
_WORD = re.compile(r"[a-z']+|[%°$]|\\circ")


@dataclass(frozen=True)
class Units:
    """The changes of unit that a text (question and response) can make."""

    factors: tuple[int, ...]
    cycles: tuple[int, ...]
    other_base: bool
    """Whether some of its numbers may be written in another base than ten."""

    @classmethod
    def of(cls, text: str) -> "Units":
        """The changes of unit whose words occur in a text."""
        words = set(_WORD.findall(text.lower()))
        other_base = _OTHER_BASE.search(text) is not None
        return cls(_named(_UNIT_FACTORS, words), _named(_CYCLES, words), other_base)


def _named(table: dict[int, str], words: set[str]) -> tuple[int, ...]:
    return tuple(value for value, names in table.items() if not words.isdisjoint(_forms(names)))


def _forms(names: str) -> Iterator[str]:
    """The words of a line of a table; `s?` is an optional plural."""
    for name in names.split():
        yield name.removesuffix("?")
        if name.endswith("s?"):
            yield name.removesuffix("s?")


_MEASURE_OF = {form: index for index, names in enumerate(_MEASURES) for form in _forms(names)}
_SINGULAR = {
    form: name.removesuffix("s?") for names in _MEASURES for name in names.split() for form in _forms(name)
}


def mixes_units(words: Collection[str]) -> bool:
    """Whether two units of one measure are among the words of a sum, or things that are counted in sets."""
    if not _SETS.isdisjoint(words):
        return True
    measures: dict[int, set[str]] = {}
    for word in ("dollars" if word == "$" else word for word in words):
        if word in _MEASURE_OF:
            measures.setdefault(_MEASURE_OF[word], set()).add(_SINGULAR[word])
    return any(len(units) > 1 for units in measures.values())
