r"""Reads numbers, exactly, in any usual notation: `1,080`, `\frac{3}{8}`, `1.77e-6`, `twelve`; compares two with their units.

Works on normalised answers (see `notation`)."""

import functools
import re
from dataclasses import dataclass, replace
from fractions import Fraction

from spot_core.checker.units import measure_of
from spot_core.checker.verdict import Decision

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
_NUMBER_IN_WORDS = re.compile(
    rf"(?P<sign>(?:negative|minus) )?(?:(?P<high>a|{_HUNDREDS}) (?P<scale>thousand|million|billion|trillion)(?: (?:and )?(?P<low>{_HUNDREDS}))?|(?P<plain>{_HUNDREDS}))"
)
_MAX_CHARS = 100


def number_of_words(text: str) -> int | None:
    """The number that the words name, or None where they name none."""
    if len(text) > _MAX_CHARS:
        return None
    match = _NUMBER_IN_WORDS.fullmatch(
        " ".join(re.split(r"(?<=[a-z])-(?=[a-z])|\s+", text.casefold().strip()))
    )
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


MAX_CHARS = 200
"""Longer texts are no single number; it also bounds the work per number."""
MAX_EXPONENT = 400
"""Powers of ten beyond the range of a double are left to the engine, which has a time limit."""

_GROUPED = "|".join(rf"\d{{1,3}}(?:{mark}\d{{3}})+(?!\d)" for mark in (",", "_", "'", "[ ]"))
_INTEGER = rf"{_GROUPED}|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d)|\d+"
_DECIMAL = rf"(?:{_INTEGER})(?:\.\d*)?|\.\d+"
_REPEATING = r"\d*\.\d*(?:\\(?:overline|bar|dot)\s*(?:\{\s*\d+\s*\}|\d)|\(\d+\))"
_POWER_OF_TEN = r"10\s*\^\s*(?:\{\s*(?P<braced>[-+]?\s*\d+)\s*\}|(?P<plain>[-+]?\d))"
_CURRENCY = r"(?:US|A|C)?[$€£¥₹]|USD|EUR|Rs\.?"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[-+]?)\s*(?P<currency>{_CURRENCY})?\s*(?P<sign2>[-+]?)\s*
    (?:
        (?P<repeating>{_REPEATING})
      | (?:(?P<whole>{_INTEGER})\s+(?=\d|\\frac)|(?P<whole2>\d+)(?=\\frac))?
        (?:
            \\frac\s*\{{\s*(?P<n>[-+]?(?:{_DECIMAL}))\s*\}}\s*\{{\s*(?P<d>[-+]?(?:{_DECIMAL}))\s*\}}
          | (?P<n2>{_DECIMAL})\s*/\s*(?P<d2>{_DECIMAL})
        )
      | {_POWER_OF_TEN}
      | (?P<decimal>{_DECIMAL})(?P<ellipsis>\.\.\.)?
        (?: [eE](?P<e>[-+]?\d+) | \s*(?:\\times|x|X)\s*{_POWER_OF_TEN.replace("braced", "braced2").replace("plain", "plain2")} )?
    )
    (?P<rest>.*)
    """,
    re.VERBOSE | re.DOTALL,
)
_EUROPEAN = re.compile(
    rf"(?P<before>[-+]?\s*(?:{_CURRENCY})?\s*)(?P<digits>\d{{1,3}}(?:\.\d{{3}})+,\d+|\d+,\d{{1,2}}(?=\s*[€]))(?P<after>.*)",
    re.DOTALL,
)
_SEXAGESIMAL = re.compile(r"(\d{1,4})\s*°\s*(\d{1,2}(?:\.\d+)?)\s*'(?:\s*(\d{1,2}(?:\.\d+)?)\s*(?:''|\"))?")
_NEGATIVE = re.compile(r"^(?:negative|minus)\s+(?=[\d.\\$])", re.IGNORECASE)
_DIGITS = re.compile(r"(?P<before>\d*\.\d*?)(?:\\\w+\s*\{?\s*|\()(?P<period>\d+)[\s})]*")
_PERCENT = re.compile(r"\s*(?:%|per\s?cent(?:age)?|pct)(?![A-Za-z])", re.IGNORECASE)
_UNIT = re.compile(
    r"\(?(?P<first>°|[€£¥₹$¢]|'{1,2}|[A-Za-z]+)[A-Za-z ./°'-]*(?:\s*\^\s*\{?\s*[23]\s*\}?)?(?:\s*/\s*[a-z]+(?:\^\{[23]\})?)?\)?"
)
_ATTACHED_LETTER = frozenset("mgshL")
"""Single letters that are units without a space before them; `5x` is a product."""
_UNIT_WORD = re.compile(r"[a-z.°'-]{4,}|[^aeiou][aeiou][^aeiou]|[ap]\.?m\.?|°|[€£¥₹$¢]|", re.IGNORECASE)
"""Words of four letters or of the shape of `men` and `cup`; `ab` and `xyz` could be variables."""
_SHORT_UNIT = re.compile(
    r"[ckm]?m|[km]?g|m?l|ft|in|mi|yd|sq|cu|lbs?|oz|hrs?|m?s|hz|kw|[mk]ph|pts|per|°[cf]|usd|eur|day|and",
    re.IGNORECASE,
)
_ANGLES = {"°": Fraction(1), "'": Fraction(1, 60), "''": Fraction(1, 3600)}
_DEGREE = re.compile(r"deg(?:rees?)?\.?", re.IGNORECASE)
_ATTACHED_WORD = re.compile(r"[A-Z]?[a-z]+[aeiouy][a-z]*")
ALTERING = FRACTIONS | frozenset(
    "below above under over less more than plus minus squared cubed factorial or root tens hundreds lakh crore gross score does do "
    "is are if when where impossible".split()
)
"""Words after a number that make another number of it."""
_NOT_A_UNIT = frozenset(["and", "or", "not", "to", "of", "in", "pi", "if", "is", "for"])
_PARTS = re.compile(rf"({_DECIMAL})\s*([A-Za-z]+)\.?(?:\s*,)?(?:\s+and)?\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact number with what is written around it."""

    value: Fraction
    """Without the percent sign's hundredth, times a scale word such as `million`."""
    percent: bool = False
    unit: str = ""
    """As written, empty where none."""
    unit_certain: bool = True
    """False where the "unit" may as well be a product of variables."""
    decimals: int | None = None
    """Digits after the point of a decimal number; None for fractions and powers of ten."""


@functools.lru_cache(4096)
def read_quantity(answer: str) -> Quantity | None:
    """The single number that the normalised answer consists of (with unit, currency, percent), or None."""
    if len(answer) > MAX_CHARS:
        return None
    answer = _NEGATIVE.sub("-", _without_parentheses(answer))
    if european := _EUROPEAN.fullmatch(answer):
        digits = european["digits"].replace(".", "").replace(",", ".")
        answer = f"{european['before']}{digits}{european['after']}"
    if sexagesimal := _SEXAGESIMAL.fullmatch(answer):
        parts = [Fraction(part or 0) for part in sexagesimal.groups()]
        return Quantity(parts[0] + parts[1] / 60 + parts[2] / 3600, unit="°")
    match = _NUMBER.fullmatch(answer)
    if match is None:
        value = number_of_words(answer)
        return None if value is None else Quantity(Fraction(value))
    return _single(match) or _sum_of_parts(answer)


def _without_parentheses(answer: str) -> str:
    for opening, closing in ("()", "{}"):
        while answer.startswith(opening) and answer.endswith(closing) and answer.count(opening) == 1:
            answer = answer[1:-1].strip()
    return answer


def _single(match: re.Match[str]) -> Quantity | None:
    value = _magnitude(match)
    if value is None or (match["sign"] and match["sign2"]):
        return None
    if "-" in (match["sign"], match["sign2"]):
        value = -value

    rest = match["rest"]
    percent = _PERCENT.match(rest)
    rest = rest[percent.end() :] if percent else rest
    unit = rest.strip()
    if unit and not _is_unit(unit, spaced=rest != unit):
        return None
    first, _, others = unit.partition(" ")
    if first.lower() in SCALES:
        value, unit = value * SCALES[first.lower()], others
    plain = match["decimal"] is not None and match["e"] is None and not _ten_power(match)
    return Quantity(
        value=value,
        percent=percent is not None,
        unit=_DEGREE.sub("°", unit.strip("() ")) or (match["currency"] or "").strip("."),
        unit_certain=_is_certain(unit),
        decimals=len(match["decimal"].partition(".")[2]) if plain else None,
    )


def _is_unit(text: str, *, spaced: bool) -> bool:
    match = _UNIT.fullmatch(text)
    if match is None or text.split(maxsplit=1)[0].lower() in _NOT_A_UNIT:
        return False
    if not ALTERING.isdisjoint(re.findall("[a-z]+", text.lower())):
        return False
    first = match["first"]
    if spaced or not first.isalpha():
        return True
    return first in _ATTACHED_LETTER if len(first) == 1 else _is_attached(first)


def _is_attached(word: str) -> bool:
    """Whether letters that stand directly behind a number can be a unit: `5cm`, `5apples`, not `5abcd`."""
    short = _SHORT_UNIT.fullmatch(word) is not None or len(word) == 2
    return short or _ATTACHED_WORD.fullmatch(word) is not None or measure_of(word) is not None


def _is_certain(unit: str) -> bool:
    if all(_is_unit_word(word) for word in re.split(r"[\s/^{}()\d]+|\ba\s+(?=\w)", unit)):
        return True
    return len(unit) > 2 and measure_of(unit) is not None


def _is_unit_word(word: str) -> bool:
    return any(shape.fullmatch(word) for shape in (_SHORT_UNIT, _UNIT_WORD))


def _ten_power(match: re.Match[str]) -> str | None:
    return match["braced"] or match["plain"] or match["braced2"] or match["plain2"]


def _number(text: str) -> Fraction:
    return Fraction(re.sub("[,_' ]", "", text).removesuffix("."))


def _magnitude(match: re.Match[str]) -> Fraction | None:
    if match["repeating"]:
        return _repeating(match["repeating"])
    numerator, denominator = match["n"] or match["n2"], match["d"] or match["d2"]
    if numerator:
        if _number(denominator) == 0:
            return None
        whole = match["whole"] or match["whole2"]
        return _number(numerator) / _number(denominator) + (_number(whole) if whole else 0)
    ten_power = _ten_power(match)
    exponent = (ten_power or match["e"] or "0").replace(" ", "")
    if len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    if match["ellipsis"] and (periodic := _continued(match["decimal"])) is not None:
        return periodic
    return (_number(match["decimal"]) if match["decimal"] else Fraction(1)) * Fraction(10) ** int(exponent)


def _repeating(text: str) -> Fraction | None:
    """`0.1\\overline{6}` as 1/6."""
    match = _DIGITS.fullmatch(text)
    if match is None:
        return None
    before, period = match["before"], match["period"]
    places = len(before.partition(".")[2])
    fixed = Fraction("0" + before.removesuffix(".") if before != "." else "0")
    return fixed + Fraction(int(period), (10 ** len(period) - 1) * 10**places)


def _continued(decimal: str) -> Fraction | None:
    """The fraction that `0.2727...` means: its digits end with a period that stands there at least twice."""
    whole, _, digits = decimal.partition(".")
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        if digits.endswith(period * 2) and (length > 1 or digits.endswith(period * 3)):
            fixed = digits[: -2 * length]
            return _repeating(f"{whole.replace(',', '')}.{fixed}({period})")
    return None


def _sum_of_parts(answer: str) -> Quantity | None:
    """`2 hours and 30 minutes` as 5/2 hours: numbers whose units measure the same, the largest first."""
    parts, position, size = [], 0, None
    while match := _PARTS.match(answer, position):
        measure = measure_of(match[2])
        if measure is None or (parts and measure.dimension != parts[0][1].dimension):
            return None
        if size is not None and measure.factor >= size:
            return None
        size, position = measure.factor, match.end()
        parts.append((_number(match[1]), measure, match[2]))
    if position != len(answer) or len(parts) < 2:
        return None
    total = sum((value * measure.factor for value, measure, _ in parts), Fraction(0))
    return Quantity(total / parts[0][1].factor, unit=parts[0][2])


def in_unit_of(given: Quantity, wanted: Quantity) -> Quantity | None:
    """The given quantity in the wanted one's unit, or None where they do not measure the same."""
    if given.unit in _ANGLES and wanted.unit in _ANGLES:
        factor = _ANGLES[given.unit] / _ANGLES[wanted.unit]
        return replace(given, value=given.value * factor, unit=wanted.unit, decimals=None)
    here, there = measure_of(given.unit), measure_of(wanted.unit)
    if here is None or there is None or here.dimension != there.dimension:
        return None
    return replace(given, value=given.value * here.factor / there.factor, unit=wanted.unit, decimals=None)


REPEATING_DIGITS = 4
"""A decimal with at least so many significant digits may stand for the fraction it rounds (0.3333 for 1/3)."""
SYMBOL_CHARS = 3
"""Longer units are words."""


def compare_quantities(given: Quantity, wanted: Quantity) -> Decision | None:
    """The decision on two numbers with their units, or None where a unit may be a product of variables."""
    if _plain(given.unit) == _plain(wanted.unit) or not given.unit or not wanted.unit:
        decision = _compare_values(given, wanted)
        if (given.unit_certain and wanted.unit_certain) or given.unit == wanted.unit:
            return decision
        return ("ambiguous", "unit") if decision[0] == "correct" else None
    if (converted := in_unit_of(given, wanted)) is not None:
        verdict, _ = _compare_values(converted, wanted)
        close = verdict == "incorrect" and _is_close(converted, wanted)
        return ("ambiguous" if close else verdict), "unit_conversion"
    return _compare_other_units(given, wanted) if given.unit_certain and wanted.unit_certain else None


def _compare_other_units(given: Quantity, wanted: Quantity) -> Decision:
    """The decision where one unit cannot be converted into the other."""
    if min(len(given.unit), len(wanted.unit)) > 1 and measure_of(given.unit) and measure_of(wanted.unit):
        return "incorrect", "unit"  # they measure different things
    first, second = set(_plain(given.unit).split()), set(_plain(wanted.unit).split())
    if first <= second or second <= first:
        return _compare_values(given, wanted)  # cookies, chocolate cookies
    return "ambiguous", "unit"


def _plain(unit: str) -> str:
    """The unit without plural and capitals; in symbols, capitals and an s have a meaning."""
    if len(unit) <= SYMBOL_CHARS:
        return unit
    return " ".join(word.rstrip("s") for word in unit.casefold().replace(".", "").split())


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
