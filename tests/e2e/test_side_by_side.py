"""Several runs at once on one machine and one store: they share what is the same, and take turns at the GPU."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SMALL, Pipeline, eventually
from tests.e2e.wrong_responses import KEY, QUESTIONS, corrected, paid_oracle, store_secret, wrong_responses
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def config(store: Path, **sections: Any) -> dict[str, Any]:
    """Settings of a run that begins with wrong responses and measures nothing."""
    return {
        "store": str(store),
        "questions": wrong_responses(store.parent / "wrong.jsonl"),
        "train": {"ranks": 1, "epochs": 1},
        "evaluate": {"datasets": []},
    } | sections


def logs(pipeline: Pipeline, *flow_runs: str) -> list[str]:
    found = pipeline.ask(
        "logs/filter", {"logs": {"flow_run_id": {"any_": list(flow_runs)}}, "sort": "TIMESTAMP_ASC"}
    )
    return [line["message"] for line in found]


def turns(pipeline: Pipeline, limit: str) -> list[str]:
    """How slots of a global concurrency limit were taken and given back, in the order of time."""
    found = pipeline.ask(
        "events/filter",
        {"filter": {"event": {"prefix": ["prefect.concurrency-limit."]}, "order": "ASC"}, "limit": 50},
    )["events"]
    ours = [event for event in found if event["resource"]["prefect.resource.name"] == limit]
    done = [event["event"].rpartition(".")[2] for event in ours]
    return [what for what in done if what in ("acquired", "released")]


def make_limit(pipeline: Pipeline, name: str) -> None:
    made = pipeline.command("prefect", "gcl", "create", name, "--limit", "1")
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.slow
def test_two_runs_at_once_share_what_is_the_same_and_ask_for_nothing_twice(
    pipeline: Pipeline, teacher: FakeOpenAI, tmp_path: Path
):
    pipeline = pipeline.at(tmp_path / "store")
    store_secret(pipeline, "side-by-side", KEY)
    teacher.chat, teacher.seconds = corrected, 1.0
    oracle = paid_oracle(teacher, secret="side-by-side")
    settings = config(pipeline.store, train={"context_length": 16})
    several = {
        name: pipeline.submit(name, settings | {"rectify": {"oracle": oracle | {"temperature": temperature}}})
        for name, temperature in (("one", 0.1), ("other", 0.2), ("same", 0.1))
    }
    assert {pipeline.ended(run)["type"] for run in several.values()} == {"COMPLETED"}
    used = {name: pipeline.record(name)["used"] for name in several}
    assert used["one"]["filter"]["key"] == used["other"]["filter"]["key"] == used["same"]["filter"]["key"]
    assert used["one"]["rectify"]["key"] != used["other"]["rectify"]["key"]
    assert used["one"]["rectify"]["digest"] == used["same"]["rectify"]["digest"]
    made = [folder.split("/")[0] for folder in pipeline.made()]
    assert (made.count("rollout"), made.count("filter"), made.count("rectify")) == (1, 1, 2)
    assert len(teacher.asked) == 2 * len(QUESTIONS)


def test_a_limit_that_does_not_exist_is_named_with_the_command_that_makes_it(
    pipeline: Pipeline, tmp_path: Path
):
    settings = config(
        tmp_path / "store", rectify={"oracle": {"kind": "self"}}, dispatch={"gpu_limit": "no-such"}
    )
    state = pipeline.ended(pipeline.submit("without-limit", settings))
    assert state["type"] == "FAILED"
    assert "prefect gcl create no-such --limit 1" in state["message"]


@pytest.mark.slow
def test_jobs_take_turns_at_the_gpu_and_a_run_says_for_whom_it_waits(pipeline: Pipeline, tmp_path: Path):
    make_limit(pipeline, "turns")
    store = tmp_path / "store"
    runs = {
        f"seed-{seed}": pipeline.submit(
            f"seed-{seed}",
            config(store, rectify={"oracle": {"kind": "calculator"}}, dispatch={"gpu_limit": "turns"})
            | {"train": {"ranks": 1, "epochs": 1, "seed": seed}},
        )
        for seed in (1, 2)
    }
    assert {pipeline.ended(run, 400)["type"] for run in runs.values()} == {"COMPLETED"}
    eventually(lambda: len(turns(pipeline, "turns")) == 4, 30, "the events are there")
    assert turns(pipeline, "turns") == ["acquired", "released"] * 2
    children = {name: [child["id"] for child in pipeline.children(run)] for name, run in runs.items()}
    said = {name: logs(pipeline, *ids) for name, ids in children.items()}
    waits = [line for lines in said.values() for line in lines if "waits for the GPU (turns)" in line]
    assert len(waits) >= 1
    assert any("it is used by train of run 'seed-" in line for line in waits)
    used = [pipeline.at(store).record(name)["used"]["train"] for name in runs]
    assert all(one["key"] != other["key"] for one, other in pairwise(used))


@pytest.mark.slow
def test_a_slot_whose_holder_was_killed_is_free_again_in_time(pipeline: Pipeline, tmp_path: Path):
    make_limit(pipeline, "orphaned")
    nobody_renews = {"names": ["orphaned"], "slots": 1, "lease_duration": 60}
    assert pipeline.ask("v2/concurrency_limits/increment-with-lease", nobody_renews)["limits"]
    settings = config(
        tmp_path / "store", rectify={"oracle": {"kind": "calculator"}}, dispatch={"gpu_limit": "orphaned"}
    )
    assert pipeline.ended(pipeline.submit("after-a-kill", settings), 300)["type"] == "COMPLETED"


@pytest.mark.slow
def test_two_whole_runs_with_different_seeds_do_not_disturb_each_other(pipeline: Pipeline, tmp_path: Path):
    def settings(store: str, seed: int) -> dict[str, Any]:
        return {
            "store": str(tmp_path / store),
            "questions": {"count": SMALL["questions.count"]},
            "rollout": {"seed": seed},
            "train": {"epochs": 1, "seed": seed},
            "evaluate": {"datasets": []},
        }

    together = [pipeline.submit(f"seed-{seed}", settings("together", seed)) for seed in (1, 2)]
    assert {pipeline.ended(run, 700)["type"] for run in together} == {"COMPLETED"}
    alone = pipeline.submit("alone", settings("alone", 1))
    assert pipeline.ended(alone, 400)["type"] == "COMPLETED"
    both = {seed: pipeline.at(tmp_path / "together").record(f"seed-{seed}")["used"] for seed in (1, 2)}
    undisturbed = pipeline.at(tmp_path / "alone").record("alone")["used"]
    for stage in ("questions", "rollout", "filter", "rectify"):
        assert both[1][stage]["digest"] == undisturbed[stage]["digest"], stage
    assert both[1]["rollout"]["digest"] != both[2]["rollout"]["digest"]
    for seed in (1, 2):
        summary = pipeline.at(tmp_path / "together").summary(f"seed-{seed}")
        assert summary["failures"] >= summary["pairs"] > 20
