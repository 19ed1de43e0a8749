import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.rectification.meta_talk import meta_phrases

QUESTION = "Ann has 6 bags of 7 marbles and loses 2. How many are left?"
RESPONSE = "6 * 7 = 41. Then 41 - 2 = 39.\nAnswer: \\boxed{39}"

META = [
    "This agrees with the reference answer.",
    "The reference solution says 40.",
    "The expected answer is 40.",
    "According to the answer key, it is 40.",
    "In the student's solution the product was 41.",
    "The student’s first step is 6 * 7.",
    "Here is the corrected solution:",
    "Here's the solution:",
    "Corrected solution: 6 * 7 = 42",
    "The corrected step is 6 * 7 = 42.",
    "Correction: 6 * 7 = 42.",
    "**Correction**: 6 * 7 = 42.",
    "The mistake is in the first step.",
    "There is a mistake in the product.",
    "I made a small error: 6 * 7 = 42.",
    "There is an error in the calculation.",
    "I fixed the calculation: 6 * 7 = 42.",
    "Correcting this step, 6 * 7 = 42.",
    "I have corrected 41.",
    "Let me correct that: 42.",
    "As instructed, I keep the rest.",
    "Following your instructions, 6 * 7 = 42.",
    "With the smallest edit, 6 * 7 = 42.",
    "The product should be 42, not 41.",
    "It is 42 instead of the incorrect 41.",
    "The wrong answer was 39.",
    "This matches the correct answer.",
    "The original response said 41.",
    "The original solution incorrectly multiplied.",
    "<<<RECTIFIED>>> 6 * 7 = 42",
    "<rectified>6 * 7 = 42</rectified>",
    "reference\nanswer: 40",
]
ORDINARY = [
    "6 * 7 = 42. Then 42 - 2 = 40.\nAnswer: \\boxed{40}",
    "Here is the graph of the function.",
    "The correct answer is B.",
    "The solution is x = 4, and the expected value is 3.",
    "The original solution contains 10% of salt.",
    "Using the previous step, 6 * 7 = 42.",
    "The error is less than 0.01.",
    "Let us fix a point P of the circle.",
    "This matches the given value.",
    "The students buy 6 bags each.",
    "So the given solution of 5 litres is mixed.",
    "The instructions take 3 minutes.",
    "The marbles should be in 6 bags.",
    "6 * 7 = <<6*7=42>>42",
    "We round to the nearest cent, as required.",
    "Each wrong answer costs a point.",
]


@pytest.mark.parametrize("sentence", META)
def test_talk_about_the_repair_is_found(sentence):
    assert meta_phrases(f"6 * 7 = 42.\n{sentence}\nA: 40", known=(QUESTION, RESPONSE))


@pytest.mark.parametrize("sentence", ORDINARY)
def test_ordinary_mathematics_is_none(sentence):
    assert meta_phrases(f"6 * 7 = 42. {sentence}\n{sentence}", known=(QUESTION, RESPONSE)) == []


@pytest.mark.parametrize("sentence", META)
def test_what_the_question_or_the_response_says_is_none(sentence):
    assert meta_phrases(sentence, known=(sentence, RESPONSE)) == []
    assert meta_phrases(sentence.upper(), known=(QUESTION, f"Well. {sentence}")) == []


def test_a_mistake_that_the_question_is_about_is_none():
    question = "There was a mistake in the bill of $40: it was $5 too high. What is right?"
    assert (
        meta_phrases("The mistake in the bill was $5, so 40 - 5 = 35.", known=(question, "40 + 5 = 45")) == []
    )
    assert meta_phrases("The mistake was $5.", known=(QUESTION, RESPONSE))


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_text_has_nothing_that_the_known_texts_do_not_lack(text, other):
    assert meta_phrases(text, known=(text, other)) == []


def test_real_responses_have_none():
    folder = os.environ.get("SPOT_SHARED_DATA")
    if not folder:
        pytest.skip("SPOT_SHARED_DATA does not name the folder with the real responses")
    names = ("gsm8k_model_solutions_400", "math_model_solutions", "gsm8k_train_500_solutions")
    texts = [
        row.get("response") or row["solution"]
        for name in names
        for row in map(json.loads, (Path(folder) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    ]
    assert len(texts) > 900
    found = {phrase for text in texts for phrase in meta_phrases(text, known=())}
    assert found == set()
