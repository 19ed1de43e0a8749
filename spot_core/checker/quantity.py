"""Reads a number, in any usual notation, exactly: `1,080`, `.4`, `\\frac{3}{8}`, `1.77e-6`, `2.5 \\times 10^{3}`, `28 pct`."""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARS = 200
"""Longer texts are no single number; it also bounds the work per number."""
MAX_EXPONENT = 400
"""Powers of ten beyond the range of a double are left to the engine, which has a time limit."""

_INTEGER = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_DECIMAL = rf"(?:{_INTEGER})(?:\.\d*)?|\.\d+"
_POWER_OF_TEN = r"10\s*(?:\^|\*\*)\s*(?:\{\s*(?P<braced>[-+]?\s*\d+)\s*\}|(?P<plain>[-+]?\d+))"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[-+]?)\s*(?:[$€£¥]|USD|EUR)?\s*(?P<sign2>[-+]?)\s*
    (?:
        (?:(?P<whole>{_INTEGER})\s+(?=\d|\\frac)|(?P<whole2>\d+)(?=\\frac))?
        (?:
            \\frac\s*(?:\{{\s*(?P<n>[-+]?(?:{_DECIMAL}))\s*\}}|(?P<n1>\d))\s*(?:\{{\s*(?P<d>{_DECIMAL})\s*\}}|(?P<d1>\d))
          | (?P<n2>{_DECIMAL})\s*/\s*(?P<d2>{_DECIMAL})
        )
      | {_POWER_OF_TEN}
      | (?P<decimal>{_DECIMAL})
        (?: [eE](?P<e>[-+]?\d+) | \s*(?:\\times|\*|x)\s*{_POWER_OF_TEN.replace("braced", "braced2").replace("plain", "plain2")} )?
    )
    (?P<rest>.*)
    """,
    re.VERBOSE | re.DOTALL,
)
_PERCENT = re.compile(r"\s*(?:%|percent(?:age)?|pct)(?![A-Za-z])", re.IGNORECASE)
_UNIT = re.compile(r"(?:°|[A-Za-z]{2,}|m|g)[A-Za-z ./°]*(?:\s*(?:\^\s*\{?\s*[23]\s*\}?|²|³))?(?:/[a-z]+)?")
_UNIT_WORD = re.compile(r"[a-z.°]{4,}|[^aeiou][aeiou][^aeiou]|[ap]\.?m\.?|°|", re.IGNORECASE)
"""Words of four letters or of the shape of `men` and `cup`; `ab` and `xyz` could be variables."""
_SHORT_UNIT = re.compile(
    r"[ckm]?m|[km]?g|m?l|ft|in|mi|yd|lbs?|oz|hrs?|m?s|hz|kw|[mk]ph|pts|per|a|°[cf]", re.IGNORECASE
)
_NOT_A_UNIT = frozenset(["and", "or", "not", "to", "of", "in", "pi"])
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_SUBJECT = re.compile(r"([A-Za-z]\w{0,2}(?:_\{?\w+\}?)?|[A-Za-z]\([^()]{0,12}\))\s*=(?!=)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact number with what is written around it."""

    value: Fraction
    """Without the percent sign's hundredth, times a scale word such as `million`."""
    percent: bool
    unit: str
    """Lower case, empty where none."""
    unit_certain: bool
    """False where the "unit" may as well be a product of variables."""
    decimals: int | None
    """Digits after the point of a decimal number; None for fractions and powers of ten."""


def split_subject(answer: str) -> tuple[str | None, str]:
    """`("x", "5")` of `x=5`, `(None, answer)` of anything that is not one name set equal to something."""
    match = _SUBJECT.fullmatch(answer)
    if match is None or "=" in match[2]:
        return None, answer
    return match[1].replace(" ", ""), match[2]


def read_quantity(answer: str) -> Quantity | None:
    """The single number that the normalised answer consists of (with unit, currency, percent), or None."""
    match = _NUMBER.fullmatch(answer) if len(answer) <= MAX_CHARS else None
    if match is None:
        return None
    value = _magnitude(match)
    if value is None or (match["sign"] and match["sign2"]):
        return None
    if "-" in (match["sign"], match["sign2"]):
        value = -value

    rest = match["rest"]
    percent = _PERCENT.match(rest)
    unit = (rest[percent.end() :] if percent else rest).strip()
    if unit and not (_UNIT.fullmatch(unit) and _NOT_A_UNIT.isdisjoint(unit.split())):
        return None
    first, _, others = unit.lower().partition(" ")
    if first in _SCALES:
        value, unit = value * _SCALES[first], others
    decimal = match["decimal"] if match["e"] is None and not _ten_power(match) else None
    return Quantity(
        value=value,
        percent=percent is not None,
        unit="".join(unit.lower().split()),
        unit_certain=all(_is_unit_word(word) for word in re.split(r"[\s/^{}\d²³]+", unit.lower())),
        decimals=None if decimal is None else len(decimal.partition(".")[2]),
    )


def _is_unit_word(word: str) -> bool:
    return any(shape.fullmatch(word) for shape in (_SHORT_UNIT, _UNIT_WORD))


def _ten_power(match: re.Match[str]) -> str | None:
    return match["braced"] or match["plain"] or match["braced2"] or match["plain2"]


def _magnitude(match: re.Match[str]) -> Fraction | None:
    def number(*names: str) -> Fraction:
        text = next(match[name] for name in names if match[name] is not None)
        return Fraction(text.replace(",", "").removesuffix("."))

    if match["n"] or match["n1"] or match["n2"]:
        denominator = number("d", "d1", "d2")
        if denominator == 0:
            return None
        whole = match["whole"] or match["whole2"]
        return number("n", "n1", "n2") / denominator + (Fraction(whole.replace(",", "")) if whole else 0)
    ten_power = _ten_power(match)
    exponent = (ten_power or match["e"] or "0").replace(" ", "")
    if len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return (number("decimal") if match["decimal"] else Fraction(1)) * Fraction(10) ** int(exponent)
