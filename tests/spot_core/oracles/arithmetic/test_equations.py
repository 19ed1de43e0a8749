import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.oracles.arithmetic.expressions import evaluate
from spot_core.oracles.arithmetic.final_answer import find_final_answer
from spot_core.oracles.arithmetic.finding import find_equations
from spot_core.oracles.arithmetic.judging import judge_all
from spot_core.oracles.arithmetic.reading import UnreadableError, read_expression
from spot_core.oracles.arithmetic.tokens import Kind, tokenize


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16 + 4", 20),
        ("2 + 3 * 4 ^ 2", 50),
        ("(2 + 3) * 4", 20),
        ("-5 + 3", -2),
        ("-2^2", -4),
        ("5(3+2)", 25),
        ("7 – 2", 5),
        ("$5,000 × 2.5%", 125),
        ("26 fish + 6 more fish", 32),
        ("3 hours x 60 minutes/hour", 180),
        ("60mph * 2hrs", 120),
        ("3/4 of 80 apples", 60),
        (r"\frac{1}{2} \times 10", 5),
        (r"2 \cdot 3 \text{ cats}", 6),
        ("2**3", 8),
        ("4 boys (tall) + 3", 7),
    ],
)
def test_expressions_are_read_with_their_units(text, value):
    tokens = tokenize(text)
    reading = read_expression(tokens)
    assert reading.tokens_read == len(tokens)
    assert evaluate(reading.root) == value


@pytest.mark.parametrize("text", ["x + 5", "(3 + 4", "2 million + 3", "6/2(1+2)", "* 3", "(" * 50 + "1"])
def test_what_is_not_plain_arithmetic_is_unreadable(text):
    with pytest.raises(UnreadableError):
        read_expression(tokenize(text))


@given(st.text(max_size=60))
def test_tokens_are_slices_of_the_text_in_order(text):
    position = 0
    for token in tokenize(text):
        assert position <= token.start < token.end
        position = token.end
        if token.kind is Kind.NUMBER:
            assert text[token.start : token.end] == token.text


def verdicts(text: str) -> list[str]:
    return [judgement.verdict.value for judgement in judge_all(find_equations(text), text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5+3=8 and 8*2=17", ["true", "false"]),
        ("16 + 4\n= 20\n= 21", ["false"]),
        ("He has 10 - 3 = 7 apples left after 2 days", ["true"]),
        ("x = 50/2 = 25", ["true"]),
        ("B + 5 = 5 + 5 = 10", ["true"]),
        ("18 = 9 * 2", ["true"]),
        ("the total is 3*50 = <<50*4=200>>200", ["unclear"]),
        ("3*50 = 150*3 = 450", ["true", "true"]),
        ("5 + 3 = 8 + 2 = 11 + 4 = 15", ["true", "false", "true"]),
        ("3 * 15 + 20 = 40 + 20 = 60", ["false"]),
        ("20 plus 25, which is 44", ["false"]),
        ("20 + 25 is 1 more than 44", []),
        ("2 hours + 30 minutes = 2.5 hours", ["unclear"]),
        ("2 hours + 3 hours = 6 hours", ["false"]),
        ("<<5*3=15>>15 apples", ["true"]),
        ("5 % 3 = 2", []),
        ("2x + 5 = 11", []),
        ("3 < 4 = 5", []),
        ("a == 3 + 4 == 8", []),
    ],
)
def test_equations_are_found_and_judged(text, expected):
    assert verdicts(text) == expected


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{5}, no: \\boxed{ \\$1,250 }", "1,250"),
        ("A: 18", "18"),
        ("**Final Answer:** 18 apples", "18"),
        ("x\n#### -7", "7"),
        ("The answer is $18.50.", "18.50"),
        ("A: 18\n\\boxed{20}", "20"),
        ("\\boxed{x + 1}", None),
        ("\\boxed{3/4}", "3"),
        ("\\boxed{3/4 + 1}", None),
        ("There are 12 + 8 = 20 of them.", "20"),
        ("nothing 5", None),
    ],
)
def test_the_final_answer_is_found_if_it_is_one_number(text, answer):
    equations = find_equations(text)
    found = find_final_answer(text, equations[-1] if equations else None)
    assert (found.token.text if found else None) == answer
