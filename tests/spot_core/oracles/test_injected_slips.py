"""Slips that a program which shares nothing with the calculator puts into right solutions: restored, or left alone."""

import os
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.calculator.__main__ import (
    KINDS,
    real_responses,
    reference_solutions,
    same_numbers,
    usable_solutions,
)
from benchmarks.calculator.slips import draw_slip
from benchmarks.calculator.solutions import read_solution
from benchmarks.calculator.styles import ANSWERS, STEPS, write
from tests.spot_core.oracles.test_calculator import propose

QUESTION = "A shop sells 34 bags of 25 nuts and 17 boxes of 48 nuts. It gives 9 percent of the 1666 away. How many are paid?"
SOLUTION = """The bags hold 34 * 25 = <<34*25=850>>850 nuts, all of the 850 fresh.
The boxes hold 17 * 48 = <<17*48=816>>816 nuts.
Together these are 850 + 816 nuts = <<850+816=1666>>1,666 nuts.
Given away are 1,666 - 150 = <<1666-150=1516>>1,516 less 16, so 1516 - 16 = <<1516-16=1500>>1500 are paid.
#### 1500"""


def test_a_solution_written_in_its_own_style_is_itself():
    assert write(read_solution(SOLUTION, QUESTION), None, "annotated", ANSWERS[0]) == SOLUTION


@given(
    st.randoms(use_true_random=False),
    st.sampled_from(list(STEPS)),
    st.sampled_from(list(KINDS)),
    st.sampled_from(ANSWERS),
)
def test_a_slip_is_restored_or_left_in_every_style(rng, style, kind, answer):
    solution = read_solution(SOLUTION, QUESTION)
    right = write(solution, None, style, answer)
    assert propose(right, QUESTION).text is None
    slip = draw_slip(solution, rng, **KINDS[kind])
    if slip is None:
        return
    proposal = propose(write(solution, slip.values, style, answer), QUESTION).text
    assert proposal is None or same_numbers(proposal, right)


def test_slips_in_real_solutions_are_restored_and_right_ones_never_touched():
    if not os.environ.get("SPOT_SHARED_DATA"):
        pytest.skip("SPOT_SHARED_DATA does not name the folder with the real responses")
    rng = random.Random(11)
    solutions = list(usable_solutions([*real_responses(), *reference_solutions()]))
    outcomes: Counter[str] = Counter()
    for solution, question in solutions:
        style, answer = rng.choice(list(STEPS)), rng.choice(ANSWERS)
        right = write(solution, None, style, answer)
        assert propose(right, question).text is None
        slip = draw_slip(solution, rng)
        if slip is not None:
            proposal = propose(write(solution, slip.values, style, answer), question).text
            assert proposal is None or same_numbers(proposal, right)
            outcomes["left" if proposal is None else "restored"] += 1
    assert outcomes["restored"] > 0.9 * outcomes.total()
