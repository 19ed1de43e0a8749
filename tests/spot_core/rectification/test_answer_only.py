import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzz_checker.pieces import PIECES
from spot_core.checker.extraction import extract_answer
from spot_core.rectification.answer_only import is_answer_only

ONLY = {
    "last line": ("80 - 48 = 32.\nA: 32", "80 - 48 = 32.\nA: 64"),
    "box": ("6*7=41\nAnswer: \\boxed{41}", "6*7=41\nAnswer: \\boxed{42}"),
    "announced in a sentence": (
        "3 + 4 = 8, and 8 * 2 = 16. The answer is 16.",
        "3 + 4 = 8, and 8 * 2 = 16. The answer is 14.",
    ),
    "in the sentence of the last step": (
        "80 - 48 = 32, so he pays \\boxed{32} dollars.",
        "80 - 48 = 32, so he pays \\boxed{64} dollars.",
    ),
    "an annotation": (
        "He pays $80 - $48 = $<<80-48=32>>32.\nA: 32",
        "He pays $80 - $48 = $<<80-48=32>>32.\nA: 64",
    ),
    "the answer gets a box": ("80 - 48 = 32.\nA: 32", "80 - 48 = 32.\nA: \\boxed{64}"),
    "a box of its own line": ("80 - 48 = 32.\nA: 32", "80 - 48 = 32.\nA: 64\n\n\\boxed{64}"),
    "the sentence before says it too": (
        "80 - 48 = 32. So Kylar pays 32 dollars.\n#### 32",
        "80 - 48 = 32. So Kylar pays 64 dollars.\n#### 64",
    ),
    "the last result is written over": ("96 - 16 = 80\n80 - 48 = 32\nA: 32", "96 - 16 = 80\n80 - 48 = 64\nA: 64"),
    "the boxed result is written over": (
        "It costs 80. He pays 80 - 48 = \\boxed{32}",
        "It costs 80. He pays 80 - 48 = \\boxed{64}",
    ),
    "words changed beside it": (
        "They need 80 - 48 = 32 bricks in all.\nA: 32",
        "They still need 80 - 48 = 32 new bricks in all.\nA: 64",
    ),
    "a label before the box": ("80 - 48 = 32\nTotal = \\boxed{32}", "80 - 48 = 32\nTotal = \\boxed{64}"),
    "the right value was reached and left": (
        "16 * 2 = 32. Then 32 * 3 = 96.\nA: 96",
        "16 * 2 = 32. Then 32 * 3 = 96.\nA: 32",
    ),
    "no equation, the last number": (
        "Half of the 64 pears are bad, which leaves 30.\nAnswer: 30",
        "Half of the 64 pears are bad, which leaves 30.\nAnswer: 32",
    ),
    "in degrees": (
        "So $\\angle 2 = 40^\\circ$. The measure is \\boxed{40}.",
        "So $\\angle 2 = 40^\\circ$. The measure is \\boxed{140}.",
    ),
    "a negative value": ("3 - 8 = -5\nA: -5", "3 - 8 = -5\nA: 11"),
    "thousands": ("3 * 450 = $1,250.\nA: 1250", "3 * 450 = $1,250.\nA: 1,350"),
    "a formula": (
        "So $f(x) = x^2 + 1$. The answer is $\\boxed{x^2+1}$.",
        "So $f(x) = x^2 + 1$. The answer is $\\boxed{x^2-1}$.",
    ),
    "a fraction": (
        "Hence $P = \\frac{3}{4}$.\n\\boxed{\\frac{3}{4}}",
        "Hence $P = \\frac{3}{4}$.\n\\boxed{\\frac{1}{4}}",
    ),
    "an option": (
        "(A) 3 (B) 4\nIt is 3 + 1, that is option B.\nAnswer: B",
        "(A) 3 (B) 4\nIt is 3 + 1, that is option B.\nAnswer: A",
    ),
    "after thinking": (
        "<think>80 - 48 = 32</think>The answer is \\boxed{32}.",
        "<think>80 - 48 = 32</think>The answer is \\boxed{64}.",
    ),
}  # fmt: skip

MORE = {
    "last step and answer": ("6*7=41\nAnswer: \\boxed{41}", "6*7=42\nAnswer: \\boxed{42}"),
    "first step and what follows": (
        "48+8=46\n46-8=38\nAnswer: \\boxed{38}",
        "48+8=56\n56-8=48\nAnswer: \\boxed{48}",
    ),
    "the answer was miswritten": ("6*7=42\nAnswer: \\boxed{41}", "6*7=42\nAnswer: \\boxed{42}"),
    "miswritten in two places": (
        "6*7=42. So there are 41.\n#### 41",
        "6*7=42. So there are 42.\n#### 42",
    ),
    "miswritten, an equation before has that value": (
        "40+1=41\n41+1=42\nThe answer is 41.",
        "40+1=41\n41+1=42\nThe answer is 42.",
    ),
    "the box is the last step": ("56 - 14 = \\boxed{41}", "56 - 14 = \\boxed{42}"),
    "the box is the last step, an earlier one has that value": (
        "40 + 1 = 41\n84 / 2 = \\boxed{41}",
        "40 + 1 = 41\n84 / 2 = \\boxed{42}",
    ),
    "the last step is in words": (
        "82 - 41 = 41. Then a third of 126 is \\boxed{41}.",
        "82 - 41 = 41. Then a third of 126 is \\boxed{42}.",
    ),
    "a step in words, carried": (
        "Half of 96 is 49. The answer is 49.",
        "Half of 96 is 48. The answer is 48.",
    ),
    "the other root": (
        "So x = 7 or x = 8. We want the smaller one.\nAnswer: 8",
        "So x = 7 or x = 8. We want the smaller one.\nAnswer: 7",
    ),
    "a step is added": (
        "80 - 48 = 32.\nA: 32",
        "80 - 48 = 32. He comes twice: 32 * 2 = 64.\nA: 64",
    ),
    "a step is taken out": (
        "16 * 2 = 32. Then 32 * 3 = 96.\nA: 96",
        "16 * 2 = 32.\nA: 32",
    ),
    "an equation solved": ("3x = 12, so x = \\boxed{5}.", "3x = 12, so x = \\boxed{4}."),
    "a formula, its step changed": (
        "So $f(x) = x^2 + 1$. The answer is $\\boxed{x^2+1}$.",
        "So $f(x) = x^2 - 1$. The answer is $\\boxed{x^2-1}$.",
    ),
    "no reasoning": ("\\boxed{41}", "\\boxed{42}"),
    "the answer is not shown before": ("There are 6 rows of 7.\nA: 41", "There are 6 rows of 7.\nA: 42"),
    "the same answer in another notation": ("1/2 of it.\nA: 0.5", "1/2 of it.\n\\boxed{0.5}"),
    "no answer before": ("6 * 7 = 41, and", "6 * 7 = 42\nA: 42"),
    "an option, its reason changed": (
        "3 + 1 = 5, that is option B.\nAnswer: B",
        "3 + 1 = 4, that is option A.\nAnswer: A",
    ),
    "the option was miswritten": (
        "It is not option B, it is option A.\nAnswer: B",
        "It is not option B, it is option A.\nAnswer: A",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rejected", "chosen"), ONLY.values(), ids=ONLY)
def test_an_answer_under_reasoning_that_leads_elsewhere_is_named(rejected, chosen):
    assert is_answer_only(rejected, chosen, "")


@pytest.mark.parametrize(("rejected", "chosen"), MORE.values(), ids=MORE)
def test_an_edit_that_repairs_what_was_wrong_is_not_named(rejected, chosen):
    assert not is_answer_only(rejected, chosen, "")


def test_numbers_of_the_question_in_the_statement_are_labels():
    rejected = "The lines are parallel, so it has 40 degrees.\nThe measure of angle 2 is \\boxed{40}."
    chosen = rejected.replace("{40}", "{140}")
    assert is_answer_only(rejected, chosen, "What is the measure of angle 2?")
    assert not is_answer_only(rejected, chosen, "")


@given(
    *[
        st.lists(
            st.sampled_from([*PIECES, "\n", "==", "=\\boxed{5}", ":= \\boxed{6}", "A: 5"]), max_size=20
        ).map(" ".join)
    ]
    * 3
)
def test_no_text_breaks_it(rejected, chosen, question):
    is_answer_only(rejected, chosen, question)
    assert not is_answer_only(rejected, rejected, question)


# On real responses.

NUMBER = re.compile(r"[\d,]*\d")


def shared_rows(name: str) -> list[dict]:
    folder = os.environ.get("SPOT_SHARED_DATA")
    if not folder:
        pytest.skip("SPOT_SHARED_DATA does not name the folder with the real responses")
    return [
        json.loads(line) for line in (Path(folder) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def with_answer(response: str, answer: str) -> str:
    """The response with another final answer in the place of its own."""
    found = extract_answer(response)
    place = response.index(found.answer, found.start)
    return response[:place] + answer + response[place + len(found.answer) :]


def numbers_only(rows: list[dict]) -> list[tuple[dict, str]]:
    """Rows whose answer is one plain number, with that number."""
    found = [(row, extract_answer(row["response"])) for row in rows]
    return [(row, one.answer) for row, one in found if one and NUMBER.fullmatch(one.answer)]


def arrives_at(response: str, answer: str) -> bool:
    """Whether the last number to the right of an equals sign or annotation, before the last line, is the answer."""
    results = re.findall(r"(?:=|>>)\s*\$?([\d,.]*\d)(?![\d.]*\s*[-+*/x=])", response.rpartition("\n")[0])
    return bool(results) and results[-1].replace(",", "") == answer.replace(",", "")


def test_gold_written_over_the_answer_of_wrong_real_responses_is_named():
    rows = [row for row in shared_rows("gsm8k_model_solutions_400") if not row["is_correct"]]
    shown = [(row, answer) for row, answer in numbers_only(rows) if arrives_at(row["response"], answer)]
    assert len(shown) > 170
    missed = {
        row["id"]
        for row, _ in shown
        for gold in (row["answer"], f"\\boxed{{{row['answer']}}}")
        if not is_answer_only(row["response"], with_answer(row["response"], gold), row["question"])
    }
    assert missed <= {
        "gsm8k-test-0688/175b_finetuning"
    }  # it ends in `= 1 hour 28 minutes`, so 1 is not the last value


def right_solutions() -> list[dict]:
    solutions = {row["id"]: row["solution"] for row in shared_rows("gsm8k_train_500_solutions")}
    rows = [row | {"response": solutions[row["id"]]} for row in shared_rows("gsm8k_train_500")]
    names = ("gsm8k_model_solutions_400", "math_model_solutions")
    return rows + [row for name in names for row in shared_rows(name) if row["is_correct"]]


def test_the_right_answer_under_right_real_reasoning_is_not_named():
    cases = numbers_only(right_solutions())
    assert len(cases) > 600
    for row, answer in cases:
        miswritten = with_answer(row["response"], str(int(answer.replace(",", "")) + 3))
        assert not is_answer_only(miswritten, row["response"], row["question"]), row["id"]


def test_a_repaired_last_step_of_real_reasoning_is_not_named():
    cases = 0
    for row, answer in numbers_only(right_solutions()):
        right, found = row["response"], extract_answer(row["response"])
        this = rf"(?<![\d.,]){re.escape(answer)}(?!\d|[.,]\d)"
        step = re.search(rf"(?:=|>>)\s*\$?\s*(?={this})", right[: found.start])
        if step is None:
            continue
        slip = str(int(answer.replace(",", "")) + 3)
        wrong = right[: step.start()] + re.sub(this, slip, right[step.start() :])
        assert not is_answer_only(wrong, right, row["question"]), row["id"]
        cases += 1
    assert cases > 500


def test_another_response_to_the_question_is_not_named():
    rows = shared_rows("gsm8k_model_solutions_400") + shared_rows("math_model_solutions")
    pairs = [
        (wrong, right)
        for wrong in rows
        for right in rows
        if wrong["question"] == right["question"] and not wrong["is_correct"] and right["is_correct"]
    ]
    assert len(pairs) > 100
    for wrong, right in pairs:
        assert not is_answer_only(wrong["response"], right["response"], wrong["question"]), wrong["id"]
