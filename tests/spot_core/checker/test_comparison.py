from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.checker.comparison import compare_fast
from spot_core.checker.notation import normalised
from spot_core.checker.quantity import read_quantity


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("18", "18"),
        ("1,080", "1080"),
        ("$18", "18"),
        ("-$5.00", "-5"),
        ("14{,}916", "14916"),
        ("025", "25"),
        ("18.0", "18"),
        (".4", "0.4"),
        ("28 pct", r"$28\%$"),
        ("28%", "0.28"),
        ("50%", "50"),
        (r"\frac3{3}", "1"),
        (r"\dfrac{1}{2}", "0.5"),
        ("-1./3", r"-\frac{1}{3}"),
        ("1 1/2", "1.5"),
        (r"3\frac{1}{2}", "7/2"),
        ("1.77e-6", r"1.77 \times 10^{-6}"),
        ("3.83e35", r"$3.83\cdot10^{35}$"),
        ("5 million", "5000000"),
        ("90^\\circ", "90"),
        (r"125\textnormal{ miles}", "125"),
        (r"15\mbox{ cm}^2", "15"),
        ("x = 5", "5"),
        ("0.333333", "1/3"),
        (r"\text{Evelyn}", "evelyn"),
        (r"\text{(C)}", "C"),
        ("\\left( 1, 2 \\right)", "(1,2)"),
        ("−7", "-7"),
    ],
)
def test_equal_answers_are_correct_in_both_directions(first: str, second: str) -> None:
    for answer, gold in ((first, second), (second, first)):
        decision = compare_fast(answer, gold)
        assert decision is not None and decision[0] == "correct", (answer, gold, decision)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("19", "18"),
        ("1.77e-6", "1.78e-6"),
        ("2e-9", "1e-9"),
        ("18.5", "18"),
        ("-18", "18"),
        ("no solution", "5"),
        ("0.5 million", "5"),
    ],
)
def test_different_numbers_are_incorrect_however_small(answer: str, gold: str) -> None:
    decision = compare_fast(answer, gold)
    assert decision is not None and decision[0] == "incorrect", decision


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("0.5%", "0.5"), ("3.14", "3.14159"), ("0.33", "1/3"), ("1.22", "1,22"), ("2ab", "2"), ("x=5", "y=5")],
)
def test_what_careful_readers_could_dispute_is_ambiguous(answer: str, gold: str) -> None:
    decision = compare_fast(answer, gold)
    assert decision is not None and decision[0] == "ambiguous", decision


@pytest.mark.parametrize(
    ("answer", "gold"), [("x/2", r"\frac{x}{2}"), (r"2\sqrt{2}", r"\sqrt{8}"), ("x+y=5", "y=5-x")]
)
def test_mathematics_is_left_to_the_engine(answer: str, gold: str) -> None:
    assert compare_fast(answer, gold) is None


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_a_number_equals_itself_in_every_notation(numerator: int, denominator: int) -> None:
    value = Fraction(numerator, denominator)
    sign = "-" if value < 0 else ""
    top, bottom = abs(value.numerator), value.denominator
    for text in (
        f"{sign}{top}/{bottom}",
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"${sign}\\dfrac{{{top}}}{{{bottom}}}$",
        f"{sign}{top:,}/{bottom:,}",
    ):
        quantity = read_quantity(normalised(text))
        assert quantity is not None and quantity.value == value, text
    decimal = Fraction(numerator, 10**6)
    for text in (f"{numerator}e-6", rf"{numerator} \times 10^{{-6}}", f"{float(decimal)!r}"):
        quantity = read_quantity(normalised(text))
        assert quantity is not None and quantity.value == decimal, text


@given(st.text(max_size=60), st.text(max_size=60))
def test_arbitrary_text_never_raises(answer: str, gold: str) -> None:
    compare_fast(answer, gold)
