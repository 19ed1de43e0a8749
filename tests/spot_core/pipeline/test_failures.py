"""Of the failures of a question the configured ones go to the Oracle, and never more than are wanted."""

from itertools import pairwise

import pytest
from pydantic import ValidationError

from spot_core.config.spot import FilterConfig, SpotConfig
from spot_core.pipeline.failures import failure_rows
from spot_core.store import ArtifactStore, Recipe
from tests.spot_core.pipeline.miniature import reused, run_stages

RESPONSES = {  # verdict and tokens of each sample, by question
    "never": [("incorrect", 9), ("incorrect", 4), ("incorrect", 6), ("incorrect", 4)],
    "often": [("incorrect", 5), ("correct", 5), ("correct", 5), ("correct", 5)],
    "half": [("correct", 7), ("incorrect", 8), ("correct", 7), ("incorrect", 3)],
    "always": [("correct", 1)] * 4,
    "cut": [("correct", 1), ("truncated", 2), ("truncated", 1), ("no_answer", 1)],
}


@pytest.fixture
def filtered(tmp_path):
    rows = [
        {
            "question_id": question,
            "sample": sample,
            "question": question,
            "answer": "1",
            "source": "test",
            "prompt_token_ids": [1],
            "response": f"{question} {sample}",
            "response_token_ids": list(range(tokens)),
            "ids_sampled": True,
            "finish_reason": "stop",
            "seed": 0,
            "checker": None,
            "metadata": None,
            "extracted_answer": None,
            "method": "test",
            "verdict": verdict,
        }
        for question, responses in sorted(RESPONSES.items())
        for sample, (verdict, tokens) in enumerate(responses)
    ]
    recipe, store = Recipe("filter", {}, {}, 1), ArtifactStore(tmp_path / "store")
    with store.write(recipe) as writer:
        writer.complete(rows, statistics={})
    return store.get(recipe)


def taken(filtered, **settings):
    return list(failure_rows(filtered, FilterConfig(**settings)).values())


@pytest.mark.parametrize(
    ("keep", "samples"),
    [
        (
            "all",
            [("half", 1), ("half", 3), ("never", 0), ("never", 1), ("never", 2), ("never", 3), ("often", 0)],
        ),
        ("first", [("half", 1), ("never", 0), ("often", 0)]),
        ("shortest", [("half", 3), ("never", 1), ("often", 0)]),
        ("nearest_boundary", [("half", 3), ("never", 1), ("often", 0)]),
    ],
)
def test_within_a_question_the_setting_says_which_failures_are_taken(filtered, keep, samples):
    assert taken(filtered, keep=keep) == samples


def test_the_first_failure_is_taken_by_default(filtered):
    assert taken(filtered) == taken(filtered, keep="first")


def test_questions_solved_half_of_the_time_come_first_where_not_all_are_wanted(filtered):
    questions = [
        {question for question, _ in taken(filtered, keep="nearest_boundary", max_failures=most)}
        for most in (1, 2, 3, 9)
    ]
    assert questions == [{"half"}, {"half", "often"}, {"half", "often", "never"}, {"half", "often", "never"}]


@pytest.mark.parametrize("keep", ["all", "first", "shortest"])
def test_a_smaller_number_of_failures_is_part_of_a_larger(filtered, keep):
    choices = [set(taken(filtered, keep=keep, max_failures=most)) for most in range(1, 9)]
    assert [len(choice) for choice in choices[:3]] == [1, 2, 3]
    assert all(small <= large for small, large in pairwise(choices))


def test_every_verdict_but_correct_lowers_the_pass_rate(filtered):
    settings = {"take": ("incorrect", "truncated"), "keep": "nearest_boundary"}
    assert ("cut", 2) in taken(filtered, **settings)
    assert ("half", 3) in taken(filtered, **settings, max_failures=1)


def test_another_choice_rectifies_again_and_checks_nothing(fake, configure):
    rollout = {"max_new_tokens": 96, "samples": 3}
    first = run_stages(configure(rollout=rollout), "one")
    fake.asked.clear()
    chosen = {"workers": 1, "keep": "all", "max_failures": 30}
    second = run_stages(configure(rollout=rollout, filter=chosen), "two")
    assert fake.asked == []
    assert [name for name, was in reused(second).items() if not was] == ["rectify"]
    assert first.record.used["rectify"].rows < second.record.used["rectify"].rows == 30


def test_more_samples_are_another_rollout_and_one_is_the_same_as_ever(configure):
    first = run_stages(configure(), "one")
    one = run_stages(configure(rollout={"max_new_tokens": 96, "samples": 1}), "two")
    two = run_stages(configure(rollout={"max_new_tokens": 96, "samples": 2}), "three")
    keys = [run.record.used["rollout"].key for run in (first, one, two)]
    assert keys[0] == keys[1] != keys[2]


def test_several_samples_at_temperature_zero_are_refused():
    with pytest.raises(ValidationError, match="same response 4 times"):
        SpotConfig.from_profile("demo", rollout={"samples": 4, "temperature": 0})
