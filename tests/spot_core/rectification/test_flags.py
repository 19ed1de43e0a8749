import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.change_ratio import change_ratio
from spot_core.config.flags import QUALITY_FLAGS
from spot_core.oracles.base import Failure
from spot_core.rectification.flags import AVOID, FEWEST_TOKENS, quality_flags

QUESTION = "Ann has 6 bags of 7 marbles and loses 2. How many are left?"
RESPONSE = "6 * 7 = 41. Then 41 - 2 = 39.\nThe answer is \\boxed{39} marbles."
RIGHT = "6 * 7 = 42. Then 42 - 2 = 40.\nThe answer is \\boxed{40} marbles."


def flags(rectified: str, response: str = RESPONSE, *, finish_reason: str = "stop", tokens=(100, 100)):
    failure = Failure("q", 0, QUESTION, "40", response, [0] * tokens[0], [], finish_reason)
    return quality_flags(failure, rectified, rectified_tokens=tokens[1])


def test_a_minimal_edit_has_none():
    assert flags(RIGHT) == []


@pytest.mark.parametrize(
    "tail",
    [
        "\nNote that 2 of them are lost.",
        " So Ann has 40 marbles left.",
        "\n\nI hope it helps.",
        " because each of the bags holds seven of them",
    ],
)
def test_text_after_the_answer_is_named(tail):
    assert flags(RIGHT + tail) == ["edit_after_answer"]


@pytest.mark.parametrize(
    ("response", "rectified"),
    [
        pytest.param(RESPONSE + " Ann is sad.", RIGHT + " Ann is sad.", id="it was there"),
        pytest.param(RESPONSE + " So she has 39.", RIGHT + " So she has 40.", id="it repeats the answer"),
        pytest.param(RESPONSE + " So she has 39 of them.", RIGHT, id="it was taken out"),
        pytest.param("41 - 2 = 39\nA: 39", "42 - 2 = 40\nA: 40\n\\boxed{40}", id="a box is added"),
        pytest.param("41 - 2 = \\boxed{39}", "42 - 2 = \\boxed{40} \\text{ marbles}.", id="a unit"),
        pytest.param(
            "\\[\\boxed{39}\n\\]", "\\begin{align}\n42 - 2 = \\boxed{40}\n\\end{align}\n", id="a formula ends"
        ),
        pytest.param("41 - 2 = 39 and", "42 - 2 = 40 and\nA: 40", id="no answer before"),
    ],
)
def test_an_end_like_that_of_the_response_is_not_named(response, rectified):
    assert "edit_after_answer" not in flags(rectified, response)


@pytest.mark.parametrize(
    ("tokens", "drifts"),
    [((100, 50), False), ((100, 49), True), ((100, 200), False), ((100, 201), True)],
)
def test_a_length_out_of_bounds_is_named(tokens, drifts):
    assert ("length_drift" in flags(RIGHT, tokens=tokens)) == drifts


def test_the_length_of_a_short_or_cut_response_says_nothing():
    assert flags(RIGHT, tokens=(FEWEST_TOKENS - 1, 10 * FEWEST_TOKENS)) == []
    assert flags(RIGHT, tokens=(FEWEST_TOKENS, 10 * FEWEST_TOKENS)) == ["length_drift"]
    assert flags(RIGHT, tokens=(1_000, 10), finish_reason="length") == []


def test_change_ratio_does_not_see_what_length_drift_sees():
    rejected = list(range(100))
    chosen = rejected[:20]
    assert change_ratio(rejected, chosen) == 0
    assert flags(RIGHT, tokens=(len(rejected), len(chosen))) == ["length_drift"]


def test_flags_come_together_in_their_order():
    bad = RESPONSE.replace("{39}", "{40}") + "\nI fixed the mistake in the answer."
    assert flags(bad, tokens=(100, 300)) == list(QUALITY_FLAGS)


def test_every_flag_has_a_sentence_for_the_oracle():
    assert set(AVOID) == set(QUALITY_FLAGS)
    assert all(len(reason) > 30 and not reason.endswith(".") for reason in AVOID.values())


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 300), st.integers(0, 300))
def test_no_text_breaks_it(response, rectified, before, after):
    found = flags(rectified, response, tokens=(before, after))
    assert found == [flag for flag in QUALITY_FLAGS if flag in found]
    assert "length_drift" in flags(response, response, tokens=(100, 10))
    assert flags(response, response) == []


def test_the_names_are_imported_without_anything_heavy():
    program = (
        "import sys, spot_core.config.flags; print(*{'sympy', 'pydantic', 'rapidfuzz'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
