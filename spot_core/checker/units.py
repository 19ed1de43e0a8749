"""What a unit measures and how large it is, from Pint's tables; loaded with the first unit that is looked up."""

import functools
import re
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_PER = re.compile(r"\s*/\s*|\s+per\s+")
_PREFIXED = re.compile(r"(square|sq\.?|cubic|cu\.?)\s+(.+)", re.IGNORECASE)
_POWER = re.compile(r"([A-Za-z.]+?)\s*\^?\s*\{?\s*([23])\s*\}?")
_EXPONENTS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "2": 2, "3": 3}
_NO_UNITS = frozenset(["point", "points", "unit", "units", "a", "an", "c", "count", "counts"])
"""Pint's readings (a typographic point, a year) that no answer means."""
_SYMBOLS = {
    "$": "dollar",
    "US$": "dollar",
    "¢": "cent",
    "€": "euro",
    "£": "sterling",
    "¥": "yen",
    "₹": "rupee",
}
_LONGEST_SYMBOL = 3
_CURRENCIES = (
    "dollar = [dollar] = USD = buck",
    "cent = dollar / 100",
    "euro = [euro] = EUR",
    "rupee = [rupee] = INR",
    "yen = [yen] = JPY",
    "sterling = [sterling] = GBP",
    "pence = sterling / 100 = _ = penny",
    "dozen = 12 * count",
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A unit: `factor` of its dimension's base unit, exactly."""

    dimension: str
    factor: Fraction


_lock = threading.Lock()  # Pint's registry fills its caches as it reads


@functools.lru_cache(4096)
def measure_of(unit: str) -> Measure | None:
    """The measure of a unit as written (`km`, `square feet`, `miles per hour`, `m/s^{2}`), None where it is none."""
    with _lock:
        return _measure(unit)


def _measure(unit: str) -> Measure | None:
    numerator, *denominators = _PER.split(unit.strip())
    parts = [_factor(numerator, 1), *(_factor(part, -1) for part in denominators)]
    if len(parts) > 3 or any(part is None for part in parts):
        return None
    total = functools.reduce(lambda first, second: first * second, parts)
    if total.dimensionless:
        return None
    base = total.to_base_units()
    dimension = " ".join(sorted(f"{name}^{power}" for name, power in base.unit_items()))
    return Measure(dimension, Fraction(base.magnitude))


@functools.cache
def _registry() -> Any:
    from pint import UnitRegistry  # noqa: PLC0415 - takes half a second, and most data sets need no conversion

    registry = UnitRegistry(non_int_type=Fraction, cache_folder=None)
    for definition in _CURRENCIES:
        registry.define(definition)
    return registry


def _factor(part: str, sign: int) -> Any | None:
    part = _SYMBOLS.get(part.strip(), part).strip().strip(".")
    exponent = 1
    if prefixed := _PREFIXED.fullmatch(part):
        exponent, part = _EXPONENTS[prefixed[1].lower().rstrip(".")], prefixed[2]
    elif power := _POWER.fullmatch(part):
        exponent, part = _EXPONENTS[power[2]], power[1]
    name = part.replace(".", "").strip()
    if not name.isalpha() or not name.isascii() or not _is_known(name):
        return None
    # A capital at the beginning of a word is style, in a symbol it has a meaning.
    if len(name) > _LONGEST_SYMBOL:
        name = name.lower()
    quantity = _registry().Quantity(Fraction(1), name)
    if not quantity._is_multiplicative:
        return None
    return quantity ** (sign * exponent)


def _is_known(name: str) -> bool:
    if name.lower() in _NO_UNITS:
        return False
    if len(name) <= _LONGEST_SYMBOL:
        return bool(_registry().parse_unit_name(name))
    # A word is a symbol with a prefix by accident only ("cats": centi-technical-atmosphere); spelled out it counts.
    name = name.lower()
    readings = _registry().parse_unit_name(name)
    return any(name.startswith(prefix) for prefix, _, _ in readings)
