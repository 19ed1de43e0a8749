"""Written numbers: their exact value, and new values written the way the old one was."""

import re
from dataclasses import dataclass

from sympy import Rational

MAX_DIGITS = 40  # digits of one written number
MAX_RESULT_DIGITS = 80  # digits of a computed numerator or denominator
MAX_EXPONENT = 64
MAX_NEW_DECIMALS = 6  # a terminating value with more decimals than this is rounded, unless the text had more
NOISE_DECIMALS = (
    12  # a number with so many decimals was printed by a machine, with floating-point noise at its end
)
MIN_ROUNDED_DECIMALS = 2  # decimals of a value that does not terminate, where the text shows no rounding

NUMBER = r"(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_SEPARATOR = re.compile(r"\{,\}|,")


class NotComputableError(ValueError):
    """A written expression has no exact rational value within the size limits (division by zero, too big)."""


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How a number was written: decimals, of them the least a new number keeps, thousands separator ("" for none)."""

    decimals: int
    least_decimals: int
    separator: str
    leading_zero: bool  # before the point


def parse_number(text: str) -> Rational:
    """Exact value of an unsigned number that matches `NUMBER`. Raises NotComputableError past `MAX_DIGITS`."""
    whole, _, decimals = _SEPARATOR.sub("", text).partition(".")
    if len(whole) + len(decimals) > MAX_DIGITS:
        raise NotComputableError(f"a number of more than {MAX_DIGITS} digits")
    return Rational(int(whole + decimals or "0"), 10 ** len(decimals))


def style_of(text: str) -> NumberStyle:
    """The style of a number that matches `NUMBER`."""
    separator = _SEPARATOR.search(text)
    decimals = text.partition(".")[2]
    return NumberStyle(
        decimals=len(decimals),
        least_decimals=len(decimals) if decimals.endswith("0") else 0,
        separator=separator.group() if separator else "",
        leading_zero=not text.startswith("."),
    )


def combine(operator: str, left: Rational, right: Rational) -> Rational:
    """`left operator right`, exactly. Operators: + - * / ^ (integer exponents up to `MAX_EXPONENT`)."""
    if operator == "/" and right == 0:
        raise NotComputableError("division by zero")
    if operator == "^":
        value = _power(left, right)
    else:
        value = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "/": lambda: left / right,
        }[operator]()
    if max(abs(value.p), value.q) >= 10**MAX_RESULT_DIGITS:
        raise NotComputableError(f"a value of more than {MAX_RESULT_DIGITS} digits")
    return value


def _power(base: Rational, exponent: Rational) -> Rational:
    if exponent.q != 1 or abs(exponent.p) > MAX_EXPONENT:
        raise NotComputableError(f"an exponent that is not an integer up to {MAX_EXPONENT}")
    if base == 0 and exponent < 0:
        raise NotComputableError("division by zero")
    if max(abs(base.p), base.q) ** abs(int(exponent)) >= 10**MAX_RESULT_DIGITS:
        raise NotComputableError(f"a value of more than {MAX_RESULT_DIGITS} digits")
    return base**exponent


def terminating_decimals(value: Rational) -> int | None:
    """The fewest decimals that write `value` exactly; None if no number of decimals does."""
    twos, fives, rest = 0, 0, value.q
    while rest % 2 == 0:
        twos, rest = twos + 1, rest // 2
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    return max(twos, fives) if rest == 1 else None


def round_to(value: Rational, decimals: int, mode: str = "nearest") -> Rational:
    """`value` at `decimals` digits after the point; mode `nearest` (halves away from zero), `floor` or `ceil`."""
    scaled = value * 10**decimals
    if mode == "floor":
        whole = scaled.p // scaled.q
    elif mode == "ceil":
        whole = -(-scaled.p // scaled.q)
    else:
        half_up = abs(scaled) + Rational(1, 2)
        whole = (half_up.p // half_up.q) * (-1 if scaled < 0 else 1)
    return Rational(whole, 10**decimals)


def is_written_form_of(written: Rational, decimals: int, exact: Rational) -> bool:
    """Whether `written`, with so many decimals, is `exact`: equal, or rounded (up, down or nearest) at its last digit."""
    if written == exact:
        return True
    if decimals >= NOISE_DECIMALS:  # 0.049999999999999996 for 0.05, 23.333333333333332 for 70/3
        return abs(written - exact) * 10**NOISE_DECIMALS <= max(abs(exact), Rational(1))
    exact_decimals = terminating_decimals(exact)
    if exact_decimals is not None and exact_decimals <= decimals:
        return False
    return abs(written - exact) < Rational(1, 10**decimals)


def rounding_mode(written: Rational, decimals: int, exact: Rational) -> str | None:
    """How `exact` became `written`: `nearest`, `floor`, `ceil`; None if it was written exactly, or is wrong."""
    if written == exact:
        return None
    for mode in ("nearest", "floor", "ceil"):
        if round_to(exact, decimals, mode) == written:
            return mode
    return None


def displayed(exact: Rational, style: NumberStyle, mode: str | None) -> tuple[Rational, int]:
    """The value and number of decimals with which `exact` is to be written in place of a number of this style.

    As few decimals as are exact, but no fewer than a text that fills up with zeros; a text that rounded keeps
    rounding the same way where that would take more, and without such an example the nearest value is written
    where no reasonable number of decimals is exact.
    """
    needed = terminating_decimals(exact)
    if mode is not None and (needed is None or needed > style.decimals):
        return round_to(exact, style.decimals, mode), style.decimals
    if needed is not None and needed <= max(MAX_NEW_DECIMALS, style.decimals):
        money = style.decimals == 2 and needed == 1  # 48.25 becomes 48.50
        return exact, 2 if money else max(needed, style.least_decimals)
    decimals = max(MIN_ROUNDED_DECIMALS, style.decimals)
    return round_to(exact, decimals), decimals


def format_number(value: Rational, decimals: int, style: NumberStyle) -> str:
    """The digits of |value| with so many decimals; the sign is the caller's."""
    scaled = abs(value) * 10**decimals
    assert scaled.q == 1, "the value was rounded before"
    digits = str(scaled.p).rjust(decimals + 1, "0")
    whole, fraction = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    if style.separator:
        whole = f"{int(whole):,}".replace(",", style.separator)
    if not style.leading_zero and whole == "0":
        whole = ""
    return f"{whole}.{fraction}" if fraction else whole
