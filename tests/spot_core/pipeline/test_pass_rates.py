"""Pass rates and pass@k say what several samples of a question found."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.pipeline import stages
from spot_core.pipeline.pass_rates import pass_at, pass_rate_statistics, right_by_question
from spot_core.report.filter_page import render_filter_page
from spot_core.report.summary import summarise
from tests.spot_core.pipeline.miniature import QUESTIONS, run_stages
from tests.spot_core.test_markdown import Page, rendered


class Rollout:
    """Stands in for an artifact."""

    def __init__(self, ids):
        self.ids = ids

    def table(self, *, columns):
        import pyarrow as pa

        assert columns == ["question_id"]
        return pa.table({"question_id": self.ids})


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(1, n), st.integers(0, n), st.just(n))))
def test_pass_at_k_is_the_share_of_draws_of_k_samples_with_a_right_one(drawn):
    k, right, samples = drawn
    outcomes = [True] * right + [False] * (samples - right)
    draws = list(combinations(outcomes, k))
    assert pass_at(k, right, samples) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_questions_are_counted_by_their_right_samples():
    verdicts = ["correct", "correct", "incorrect", "correct", "truncated", "no_answer"]
    figures = pass_rate_statistics(Rollout(["a", "a", "b", "b", "c", "c"]), verdicts)
    assert figures == {
        "questions": 3,
        "samples": 2,
        "average_pass_rate": 0.5,
        "right_samples": {"0": 1 / 3, "1": 1 / 3, "2": 1 / 3},
        "pass_at": {"1": 0.5, "2": pytest.approx(2 / 3)},
    }


def test_questions_with_fewer_samples_count_where_they_can():
    figures = pass_rate_statistics(
        Rollout(["a", "b", "b", "b"]), ["correct", "incorrect", "incorrect", "incorrect"]
    )
    assert figures["pass_at"] == {"1": 0.5, "2": 0.0, "3": 0.0}
    assert figures["average_pass_rate"] == 0.5


def test_one_sample_a_question_needs_no_further_figures():
    assert pass_rate_statistics(Rollout(["a", "b"]), ["correct", "incorrect"]) == {}
    assert pass_rate_statistics(Rollout([]), []) == {}


def test_samples_of_a_question_need_not_stand_together():
    counts = right_by_question(["b", "a", "b"], ["correct", "correct", "timeout"])
    assert counts == {"b": (1, 2), "a": (1, 1)}


def test_several_samples_are_asked_checked_and_shown(fake, configure):
    run = run_stages(configure(rollout={"max_new_tokens": 96, "samples": 3}), "one")
    assert len(fake.answered) == 3 * QUESTIONS
    assert len({body["seed"] for body in fake.answered}) == 3 * QUESTIONS
    sampled = list(stages.roll_out(run).rows_as_dicts(columns=["question_id", "sample"]))
    assert [row["sample"] for row in sampled] == [0, 1, 2] * QUESTIONS
    checked = stages.check_answers(run)
    assert checked.statistics["pass_at"]["1"] == pytest.approx(checked.statistics["accuracy"])
    assert sum(checked.statistics["right_samples"].values()) == pytest.approx(1)
    cells = [text.strip() for text in Page(rendered(render_filter_page(checked, take=("incorrect",)))).cells]
    assert {"pass@1", "pass@2", "pass@3", "0 of 3", "3 of 3"} <= set(cells)
    assert summarise(run)["questions"] == QUESTIONS
