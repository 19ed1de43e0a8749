"""An answer equals itself in every notation, and differs from another one in every notation."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_checker.pieces import PIECES
from spot_core.checker import CheckItem
from spot_core.checker.comparison import compare_fast
from spot_core.checker.engine import compare_with_sympy
from spot_core.checker.rules import decide

INTEGERS = st.integers(-(10**9), 10**9)
SMALL = st.integers(-99, 99)


def grouped(value: int, mark: str) -> str:
    return f"{value:,}".replace(",", mark)


@st.composite
def dressed(draw: st.DrawFn, plain: st.SearchStrategy[str]) -> str:
    """Cosmetics around an answer that do not change it."""
    text = draw(plain)
    for _ in range(draw(st.integers(0, 3))):
        delimiters = [] if "$" in text or r"\(" in text else ["${}$", r"\({}\)"]
        text = draw(
            st.sampled_from(
                [
                    *delimiters,
                    r"\displaystyle {}",
                    r"\,{}\,",
                    r"{}\quad",
                    r"{{{}}}",
                    r"\boxed{{{}}}",
                    r"\textcolor{{red}}{{{}}}",
                    r"\large {}",
                    "x = {}",
                    " {} ",
                ]
            )
        ).format(text)
    return text + draw(st.sampled_from(["", "."]))


@st.composite
def integer_notations(draw: st.DrawFn, value: int) -> str:
    mark = draw(st.sampled_from([",", "{,}", r"\,", r",\!", " ", "_", ""]))
    forms = [
        grouped(value, mark),
        f"{value}.0",
        f"{value}.",
        rf"\text{{{value}}}",
        rf"\mathbf{{{value}}}",
        f"{value * 3}/3",
        rf"\frac{{{value * 2}}}{{2}}",
        f"{value * 100}%",
        f"({value})",
        f"{value} apples",
        rf"{value}\text{{ cm}}",
        f"{value}e0",
        rf"{value} \times 10^{{0}}",
        rf"\${value}" if value >= 0 else rf"-\${-value}",
    ]
    return draw(st.sampled_from(forms))


@given(st.data(), INTEGERS)
def test_integers_in_all_notations(data: st.DataObject, value: int) -> None:
    answer = data.draw(dressed(integer_notations(value)))
    assert compare_fast(answer, str(value)) is not None, answer
    assert compare_fast(answer, str(value))[0] == "correct", answer


@given(st.data(), INTEGERS, INTEGERS)
def test_different_integers_in_all_notations(data: st.DataObject, value: int, other: int) -> None:
    assume(abs(value) != abs(other) and value * 100 != other and other * 100 != value)
    answer = data.draw(dressed(integer_notations(value)))
    decision = compare_fast(answer, str(other))
    assert decision is None or decision[0] != "correct", (answer, decision)


@given(st.data(), SMALL, st.integers(2, 99))
def test_fractions_in_all_notations(data: st.DataObject, numerator: int, denominator: int) -> None:
    value = Fraction(numerator, denominator)
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    forms = [
        f"{sign}{top}/{bottom}",
        rf"{sign}\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\dfrac{{{top}}}{{{bottom}}}",
        rf"\frac{{{sign}{top}}}{{{bottom}}}",
        rf"{sign}\frac{{{top * 7}}}{{{bottom * 7}}}",
    ]
    if top > bottom > 1:
        forms += [rf"{sign}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}"]
    if top < 10 and bottom < 10:
        forms += [rf"{sign}\frac{top}{bottom}"]
    answer = data.draw(dressed(st.sampled_from(forms)))
    assert compare_fast(answer, f"{value.numerator}/{bottom}")[0] == "correct", answer


@given(st.lists(SMALL, min_size=2, max_size=6, unique=True), st.data())
def test_lists_and_sets_have_no_order_and_tuples_have(values: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    gold, answer = ", ".join(map(str, values)), ", ".join(map(str, shuffled))
    for form in ("{}", r"\{{{}\}}", r"\left\{{{}\right\}}", r"x \in \{{{}\}}"):
        assert compare_fast(form.format(answer), gold)[0] == "correct"
    assert compare_fast(f"({gold})", rf"\left( {gold} \right)")[0] == "correct"
    if list(shuffled) != values:
        assert compare_fast(f"({answer})", f"({gold})")[0] == "incorrect"
    assert compare_fast(", ".join(map(str, values[1:])), gold)[0] == "incorrect"


@given(SMALL, st.integers(1, 50), st.booleans(), st.booleans())
def test_intervals_equal_the_inequalities_that_describe_them(low, length, low_closed, high_closed) -> None:
    high = low + length
    interval = f"{'[' if low_closed else '('}{low}, {high}{']' if high_closed else ')'}"
    less = [r"\le" if closed else "<" for closed in (low_closed, high_closed)]
    more = [r"\geq" if closed else ">" for closed in (low_closed, high_closed)]
    for text in (
        f"{low} {less[0]} x {less[1]} {high}",
        f"{high} {more[1]} x {more[0]} {low}",
        f"x {more[0]} {low} and x {less[1]} {high}",
        rf"x \in \left{interval[:-1]}\right{interval[-1]}",
    ):
        assert compare_fast(text, interval)[0] == "correct", text
    other = f"{'(' if low_closed else '['}{low}, {high}{']' if high_closed else ')'}"
    assert compare_fast(other, interval)[0] == "incorrect"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=4), st.integers(1, 9))
def test_polynomials_in_another_order_are_equal_and_others_are_not(coefficients, shift: int) -> None:
    terms = [f"{c}x^{{{power}}}" for power, c in enumerate(coefficients)]
    gold = " + ".join(f"({term})" for term in terms)
    assert compare_with_sympy(" + ".join(f"({term})" for term in reversed(terms)), gold)[0] == "correct"
    other = f"{gold} + {shift}"
    assert compare_with_sympy(other, gold)[0] == "incorrect"


TOKENS = [*PIECES, "\n", " ", "\0", "\ud800"]
FORMULAS = st.lists(st.sampled_from(TOKENS), max_size=25).map("".join) | st.text(max_size=40)


@settings(max_examples=500, deadline=None)
@given(FORMULAS, FORMULAS, st.sampled_from(["math", "numeric", "multiple_choice", "exact", "pattern"]))
def test_deciding_never_raises(answer: str, gold: str, kind: str) -> None:
    for response in (answer, rf"\boxed{{{answer}}}", f"Answer: {answer}"):
        decide(CheckItem(response, gold, kind))


@settings(max_examples=150, deadline=None)
@given(FORMULAS)
def test_every_answer_equals_itself(answer: str) -> None:
    decision = compare_fast(answer, answer)
    assert decision is not None and decision[0] == "correct"
    spaced = compare_fast(f"  {answer}\n", answer)
    assert spaced is not None and spaced[0] == "correct"
