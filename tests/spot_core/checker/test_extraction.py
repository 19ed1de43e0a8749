import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzz_checker.pieces import PIECES
from spot_core.checker import CheckItem
from spot_core.checker.extraction import extract_answer, visible_text
from spot_core.checker.rules import decide


@pytest.mark.parametrize(
    ("response", "answer", "form"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}", "boxed"),
        (r"first \boxed{3}. That was wrong, and after a long look at all the cases: \boxed{4}", "4", "boxed"),
        (r"\boxed{4} and then an unfinished \boxed{\frac{1}{2", "4", "boxed"),
        (r"the set \boxed{\{1, 2\}}", r"\{1, 2\}", "boxed"),
        (r"\boxed {5}", "5", "boxed"),
        ("<think>\\boxed{3}</think>It is \\boxed{4}.", "4", "boxed"),
        ("reasoning \\boxed{3}</think>A: 4", "4", "a_line"),
        ("2/2 = <<2/2=1.0>>1\n#### 1,080", "1,080", "answer_line"),
        ("9 * 2 = $<<9*2=18>>18.\nA: 18", "18", "a_line"),
        ("work\n**Answer:** $18$ apples", "$18$ apples", "answer_line"),
        ("work\n\n**Final Answer**\n\nFinal answer:\n\n$\\frac12$\n", r"$\frac12$", "answer_line"),
        ("The final answer is 3.5. I hope it is correct.", "3.5", "answer_sentence"),
        ("So the answer is $20\\%$.", r"$20\%$", "answer_sentence"),
        ("  -5 ", "-5", "whole_response"),
        (r"$\frac{1}{3} \text{meters}$", r"$\frac{1}{3} \text{meters}$", "whole_response"),
        ("We find that $x < 3$.", "$x < 3$", "conclusion"),
        ("Answer: 4<|im_end|>\n<|im_start|>user\nAnswer: 5", "4", "answer_line"),
    ],
)
def test_final_answer_is_found_in_its_usual_forms(response: str, answer: str, form: str) -> None:
    found = extract_answer(response)
    assert found is not None
    assert (found.answer, found.form) == (answer, form)


@pytest.mark.parametrize(
    ("response", "statement"),
    [
        (
            r"So \boxed{4} it is. That was wrong, as a look at all the cases shows: \boxed{\frac{1}{2}}. Done",
            r"\boxed{\frac{1}{2}}",
        ),
        (r"The roots are $\boxed{-2}$ and $\boxed{1}$.", r"\boxed{-2}$ and $\boxed{1}"),
        (r"thus \boxed 5, as shown", r"\boxed 5,"),
        ("<think>5</think>It is <answer> B </answer>!", "<answer> B </answer>"),
        ("2 * 9 = 18.\nA: 18  \n", "A: 18"),
        ("1,080 in all\n#### 1,080\nDone", "#### 1,080"),
        ("We add. The answer is exactly 7 because it is.", "answer is exactly 7"),
        ("x\n**Final Answer**\n\n$\\frac12$\n", "**Final Answer**\n\n$\\frac12$"),
        ("  -5 ", "  -5 "),
        ("It holds. Therefore the total is 48.", "48."),
        ("We find that $x < 3$.", "$x < 3$."),
    ],
)
def test_the_place_of_the_statement_is_told(response: str, statement: str) -> None:
    found = extract_answer(response)
    assert found is not None
    assert visible_text(response)[found.start : found.end] == statement


@given(st.lists(st.sampled_from([*PIECES, " ", "\n"]) | st.text(max_size=4), max_size=30).map("".join))
def test_the_answer_stands_in_its_place_whatever_the_text(response: str) -> None:
    if (found := extract_answer(response)) is not None:
        statement = visible_text(response)[found.start : found.end]
        assert found.answer in statement or "boxed" in statement  # a box in a box is unwrapped


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I bought 3 apples and 5 pears.",
        "He has 12 left\nand 5 are red",
        "<think>The answer is 5. \\boxed{5}",
        "<think>\\boxed{5}</think>",
        "\\boxed{}",
        "A: 5\nB: 6\nC: 7",
        "12 + 7 = 19\n19 - 4 = 15 and so on",
    ],
)
def test_stray_numbers_and_hidden_answers_are_not_taken(response: str) -> None:
    assert extract_answer(response) is None


def test_boxes_of_one_statement_are_offered_as_a_list() -> None:
    found = extract_answer(
        r"\boxed{9}. So the roots are, after all this work, \boxed{-2} \text{ and } \boxed{1}."
    )
    assert found is not None
    assert (found.answer, found.box_list) == ("1", "-2, 1")


def test_thinking_is_hidden_also_when_the_template_opened_it() -> None:
    assert visible_text("a<think>b</think>c<think>d</think>e") == "ace"
    assert visible_text("b</think>c") == "c"
    assert visible_text("a<think>b") == "a"


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "\\boxed{",
        "}",
        "{",
        "$",
        "Answer: ",
        "#### \n",
        "answer is ",
        " ",
        "\\(",
        "-\t",
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.perf_counter()
    extract_answer(text)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        (r"\boxed{" + "A. " * 640 + "5}", "7"),
        ("\\boxed{10^{-\n5}...}", "7"),
        (r"\boxed{5" + " " * 1900 + "x...}", "7"),
        (r"\boxed{5" + ", " * 900 + "x...}", "7"),
        (r"\(a\), " * 24 + "!", "1"),
        (r"\[a\]," * 24 + "!", "1"),
        ("<answer>" * 100_000, "1"),
        ("Answer: _" + " " * 1900 + "_\n" * 500, "1"),
        (r"\boxed{(}" * 100_000, "1, 2"),
        (r"\boxed{60 \text{ dB}}", r"60 \text{ decibels}"),
        (r"\boxed{5 square celsius}", "5 square kelvin"),
        (r"\boxed{" + "^(" * 900 + "}", "1"),
    ],
)
@pytest.mark.timeout(60)
def test_rules_neither_hang_nor_raise_on_what_once_made_them(response: str, gold: str) -> None:
    assert decide(CheckItem(response, gold)) is not None
