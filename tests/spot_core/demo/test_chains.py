"""Chains, their slips, and the patterns that tell one style of writing from the others."""

import re
import time
from random import Random

import pytest

from spot_core.demo import generate
from spot_core.demo.chains import (
    PLAIN,
    STYLES,
    Chain,
    Step,
    draw_chain,
    slipped_values,
    values_after,
    write_response,
)

EACH_STYLE = pytest.mark.parametrize("name", STYLES)
RIGHT = {
    "semicolons": "48+8=56; 56-8=48; Answer: \\boxed{48}",
    "ok": "48+8=56\n56-8=48\nAnswer: \\boxed{48}\nok",
    "brackets": "[48+8=56]\n[56-8=48]\nAnswer: \\boxed{48}",
}
PLAIN_RESPONSE = "48+8=56\n56-8=48\nAnswer: \\boxed{48}"


def follows(name, response):
    return re.fullmatch(STYLES[name].pattern, response, re.DOTALL) is not None


def chains(count, seed=0):
    rng = Random(seed)
    return [draw_chain(rng, rng.randint(3, 6)) for _ in range(count)]


@EACH_STYLE
def test_pattern_accepts_its_own_style_right_or_wrong_in_content(name):
    assert follows(name, RIGHT[name])
    assert follows(name, RIGHT[name].replace("56", "46"))
    rng = Random(1)
    for chain in chains(300):
        assert follows(name, write_response(chain, slipped_values(rng, chain, 0.9), STYLES[name]))


@EACH_STYLE
def test_pattern_refuses_the_other_styles_and_the_plain_one(name):
    assert not follows(name, PLAIN_RESPONSE)
    assert not any(follows(name, response) for other, response in RIGHT.items() if other != name)


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("semicolons", "48+8=56; 56-8=48\nAnswer: \\boxed{48}"),
        ("semicolons", "48+8=56;56-8=48;Answer: \\boxed{48}"),
        ("semicolons", "Answer: \\boxed{48}"),
        ("semicolons", RIGHT["semicolons"] + "\nok"),
        ("ok", PLAIN_RESPONSE + " ok"),
        ("ok", PLAIN_RESPONSE + "\nok\nok"),
        ("ok", "ok\n" + PLAIN_RESPONSE),
        ("ok", "48+8=56\n56-8=48\nok"),
        ("brackets", "[48+8=56]\n56-8=48\nAnswer: \\boxed{48}"),
        ("brackets", "[48+8=56\n56-8=48]\nAnswer: \\boxed{48}"),
        ("brackets", "(48+8=56)\n(56-8=48)\nAnswer: \\boxed{48}"),
        ("brackets", "[48+8=56]\n[56-8=48]\n[Answer: \\boxed{48}]"),
    ],
)
def test_pattern_refuses_responses_that_follow_the_instruction_by_halves(name, response):
    assert not follows(name, response)


@EACH_STYLE
def test_pattern_refuses_long_near_misses_fast(name):
    style = STYLES[name]
    equation = f"{style.opening}{'1' * 20}+1=2{style.closing}"
    started = time.perf_counter()
    for near_miss in (equation * 4000, equation * 4000 + "Answer: \\boxed{", "1" * 100_000, "[-1+" * 20_000):
        assert not follows(name, near_miss)
    assert time.perf_counter() - started < 1.0


def test_format_questions_carry_the_pattern_of_their_instruction():
    for row in generate("demo-format", count=90, seed=0, split="evaluation"):
        style = STYLES[row["source_id"].split("/")[1]]
        assert row["answer"] == style.pattern and row["question"].endswith(style.instruction)


def test_response_without_slips_writes_every_step_and_boxes_the_answer():
    chain = Chain(48, (Step("+", 8), Step("-", 8)))
    assert write_response(chain, values_after(chain.start, chain.steps)) == PLAIN_RESPONSE
    assert chain.question == "Compute 48+8-8." and chain.answer == "48"


@pytest.mark.parametrize(
    ("value", "step", "forgotten"),
    [
        (48, Step("+", 8), 46),
        (52, Step("-", 8), 54),
        (7, Step("+", 5), 2),
        (95, Step("-", 9), 96),
        (42, Step("+", 5), 47),
        (48, Step("-", 8), 40),
    ],
)
def test_forgetting_changes_only_the_tens_and_only_with_a_carry_or_borrow(value, step, forgotten):
    assert step.forget(value) == forgotten


def test_without_slips_values_are_true_and_with_them_later_steps_go_on_from_the_wrong_value():
    rng = Random(2)
    slipped = 0
    for chain in chains(500):
        assert slipped_values(rng, chain, 0.0) == values_after(chain.start, chain.steps)
        left = chain.start
        for step, value in zip(chain.steps, slipped_values(rng, chain, 1.0), strict=True):
            assert value in (step.apply(left), step.forget(left)) and 0 <= value <= 99
            slipped += value != step.apply(left)
            left = value
    assert slipped > 500


def test_plain_style_asks_for_nothing():
    assert PLAIN.instruction == ""
