import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Rational

from spot_core.oracles.arithmetic.numbers import (
    NotComputableError,
    combine,
    displayed,
    format_number,
    is_written_form_of,
    parse_number,
    round_to,
    style_of,
    terminating_decimals,
)


@given(st.integers(0, 10**12), st.integers(0, 8), st.sampled_from(["", ",", "{,}"]))
def test_a_number_is_written_back_the_way_it_was(digits, decimals, separator):
    whole, fraction = divmod(digits, 10**decimals)
    text = f"{whole:,}".replace(",", separator) + (f".{fraction:0{decimals}d}" if decimals else "")
    value = parse_number(text)
    assert value == Rational(digits, 10**decimals)
    written = format_number(value, decimals, style_of(text))
    if separator or whole < 1000:
        assert written == text
    else:
        assert parse_number(written) == value


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**4), st.integers(0, 4))
def test_any_rounding_of_a_value_is_a_written_form_of_it(numerator, denominator, decimals):
    value = Rational(numerator, denominator)
    for mode in ("nearest", "floor", "ceil"):
        rounded = round_to(value, decimals, mode)
        assert is_written_form_of(rounded, decimals, value)
        assert abs(rounded - value) < Rational(1, 10**decimals)


@pytest.mark.parametrize(
    ("old", "exact", "new"),
    [
        ("18", Rational(37, 2), "18.5"),
        ("18.5", Rational(18), "18"),
        ("49.50", Rational(48), "48.00"),
        ("48.25", Rational(97, 2), "48.50"),
        ("125.0", Rational(130), "130.0"),
        ("950", Rational(1050), "1050"),
        ("1,250", Rational(10500), "10,500"),
        (".5", Rational(1, 4), ".25"),
        ("3", Rational(10, 3), "3.33"),
        ("3.125", Rational(10, 3), "3.333"),
    ],
)
def test_a_new_value_takes_the_style_of_the_old_one(old, exact, new):
    style = style_of(old)
    value, decimals = displayed(exact, style, None)
    assert format_number(value, decimals, style) == new


def test_terminating_decimals():
    assert [terminating_decimals(Rational(1, q)) for q in (1, 2, 8, 125, 3, 6)] == [0, 1, 3, 3, None, None]


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [
        ("/", 1, 0),
        ("^", 0, -1),
        ("^", 2, Rational(1, 2)),
        ("^", 2, 10**9),
        ("^", 10**9, 60),
        ("*", 10**60, 10**60),
    ],
)
def test_what_has_no_exact_value_of_sensible_size_is_refused(operator, left, right):
    with pytest.raises(NotComputableError):
        combine(operator, Rational(left), Rational(right))
