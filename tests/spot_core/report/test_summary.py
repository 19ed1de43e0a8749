"""summary.json holds every figure that its readers were promised, at every stage of a run."""

import json
import math

import pytest

from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.report.run_list import describe_run
from spot_core.report.run_page import render_run_page
from spot_core.report.status import compute_status
from spot_core.report.summary import compute_paired_change, summarise, write_summary
from spot_core.report.terminal import make_results_table
from spot_core.runs import Run
from spot_core.store import ArtifactStore, Recipe
from tests.spot_core.pipeline.miniature import QUESTIONS, Student, pretend_training, run_stages

PROMISED = {
    "accuracy_before",
    "accuracy_after",
    "retention_before",
    "retention_after",
    "questions",
    "failures",
    "pairs",
    "change_ratio",
    "objective",
    "final_loss",
    "reward_chosen",
    "reward_rejected",
    "seconds",
    "stages",
}


def dataset(name, role, seed):
    source = {"kind": "generator", "name": "demo-chains", "count": 10, "seed": seed, "split": "evaluation"}
    return {"name": name, "role": role, "questions": source}


@pytest.fixture
def config(configure):
    datasets = [dataset("a", "in_domain", 0), dataset("b", "retention", 1), dataset("c", "retention", 2)]
    return configure(evaluate={"datasets": datasets})


def test_a_whole_run_has_every_figure(trained_fake, config):
    run = run_stages(config, "one")
    pretend_training(run)
    made = stages.evaluate_models(run)
    summary = write_summary(run)
    assert summary.keys() >= PROMISED
    assert all(summary[name] is not None for name in PROMISED)
    assert json.loads((run.folder / "summary.json").read_text()) == summary

    assert summary["questions"] == QUESTIONS
    assert 0 < summary["pairs"] == summary["failures"] < QUESTIONS
    assert summary["change_ratio"].keys() >= {"mean", "median", "p90"}
    assert (summary["final_loss"], summary["reward_chosen"], summary["reward_rejected"]) == (0.5, 1.0, -1.0)
    accuracy = {name: artifact.statistics["accuracy"] for name, artifact in made.items()}
    assert summary["accuracy_before"] == accuracy["before/a"]
    assert summary["retention_after"] == pytest.approx((accuracy["after/b"] + accuracy["after/c"]) / 2)
    assert set(summary["seconds"]) == {"prepare", "rollout", "filter", "rectify", "train", "evaluate"}
    for entry in summary["stages"].values():
        assert entry.keys() >= {"key", "rows", "reused"}
    assert make_results_table(summary).row_count == 3
    line = describe_run(run)  # the listing and the run's page take their figures from it
    assert (line.state, line.pairs, line.accuracy_after) == (
        "complete",
        summary["pairs"],
        summary["accuracy_after"],
    )
    page = render_run_page(compute_status(run, {}))
    assert "all stages are done" in page
    assert all(f"| {name} | " in page for name in "abc")


def test_what_was_reused_took_this_run_no_time(config):
    run_stages(config, "one")
    summary = summarise(run_stages(config, "two"))
    assert set(summary["seconds"].values()) == {0.0}
    assert all(entry["reused"] for entry in summary["stages"].values())


def test_an_unfinished_run_has_every_key_too(config):
    summary = summarise(Run.create(config, "one"))
    assert summary.keys() >= PROMISED
    assert summary["questions"] is summary["pairs"] is summary["accuracy_before"] is None
    assert summary["stages"] == {}


def test_a_run_that_skipped_training_says_why(fake, config):
    fake.complete = Student(rate=0.0)
    run = run_stages(config, "one")
    reason = Resolver(run).nothing_to_train_on()
    for stage in ("train", "evaluate"):
        run.skip(stage, reason)
    summary = write_summary(run)
    assert summary.keys() >= PROMISED
    assert (summary["failures"], summary["pairs"], summary["change_ratio"]) == (0, 0, None)
    assert "no mistake" in summary["skipped"]["train"]
    assert make_results_table(summary).row_count == 2


# --- the change on a data set ---------------------------------------------------------------------------------


def evaluated(tmp_path, *verdicts_by_question):
    """An evaluation artifact; `c` stands for a correct sample."""
    rows = [
        {
            "dataset": "x",
            "question_id": f"{number:02d}",
            "sample": sample,
            "question": "?",
            "answer": "1",
            "response": "",
            "finish_reason": "stop",
            "extracted_answer": None,
            "method": "test",
            "verdict": "correct" if letter == "c" else "incorrect",
        }
        for number, verdicts in enumerate(verdicts_by_question)
        for sample, letter in enumerate(verdicts)
    ]
    recipe = Recipe("evaluate", {"verdicts": verdicts_by_question}, {}, 1)
    with ArtifactStore(tmp_path).write(recipe) as slot:
        if not hasattr(slot, "digest"):
            slot.complete(rows, statistics={})
    return ArtifactStore(tmp_path).get(recipe)


def test_questions_are_compared_one_by_one(tmp_path):
    change = compute_paired_change(evaluated(tmp_path, *"cc---c--"), evaluated(tmp_path, *"c-ccc---"))
    assert change["accuracy"] == pytest.approx(1 / 8)
    assert (change["improved"], change["worsened"]) == (3, 2)
    variance = (3 * (1 - 1 / 8) ** 2 + 2 * (1 + 1 / 8) ** 2 + 3 * (1 / 8) ** 2) / 7
    assert change["half_width_95"] == pytest.approx(1.96 * math.sqrt(variance / 8), rel=1e-3)


def test_a_question_counts_once_however_often_it_is_sampled(tmp_path):
    change = compute_paired_change(evaluated(tmp_path, "cc--", "----"), evaluated(tmp_path, "cccc", "c---"))
    assert change["accuracy"] == pytest.approx((0.5 + 0.25) / 2)
    assert (change["improved"], change["worsened"]) == (2, 0)


@pytest.mark.parametrize("verdicts", ["c", "cc-c-"])
def test_no_change_is_certain(tmp_path, verdicts):
    same = evaluated(tmp_path, *verdicts)
    assert compute_paired_change(same, same) == {
        "accuracy": 0,
        "half_width_95": 0,
        "improved": 0,
        "worsened": 0,
    }
