"""What each way to run something again makes anew, and what it leaves: the table in docs/operations.md, row by row.

On a real Prefect server, with both ways to dispatch stages; in the order of a user's day. The runs are cheap: they begin
with wrong responses, a teacher behind an endpoint corrects them, and no pair fits the context, so nothing is trained.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import SMALL, Pipeline, eventually
from tests.e2e.wrong_responses import KEY, QUESTIONS, corrected, paid_oracle, store_secret, wrong_responses
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

REFUSED, MENDED = "401", None


@dataclass
class Day:
    """What a user works with, and the runs so far."""

    pipeline: Pipeline
    teacher: FakeOpenAI
    config: dict[str, Any]
    first: str = ""
    """Id of the first flow run of `spot`."""

    @property
    def through_deployments(self) -> bool:
        return self.config["dispatch"]["stages"] == "deployments"

    def settings(self, **sections: dict[str, Any]) -> dict[str, Any]:
        return self.config | {name: self.config.get(name, {}) | given for name, given in sections.items()}

    def run(self, run_name: str, config: dict[str, Any] | None = None, **parameters: Any) -> str:
        """Runs `spot/full` to its end, which has to be a good one; the id of the flow run."""
        flow_run = self.pipeline.submit(run_name, config or self.config, **parameters)
        state = self.pipeline.ended(flow_run)
        assert state["type"] == "COMPLETED", state["message"]
        return flow_run

    def began(self, flow_run: str) -> Counter[str]:
        """How many flow runs of each stage a flow run of `spot` began."""
        return Counter(child["flow"] for child in self.pipeline.children(flow_run))

    def new(self, before: dict[str, int]) -> set[str]:
        """Stages of which something was made since."""
        return {
            folder.split("/")[0]
            for folder, when in self.pipeline.made().items()
            if before.get(folder) != when
        }


in_both_modes = pytest.mark.parametrize("day", ["subflows", "deployments"], indirect=True)
mostly_in_subflows = pytest.mark.parametrize(
    "day", ["subflows", pytest.param("deployments", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture(scope="module")
def day(
    request: pytest.FixtureRequest, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Day]:
    folder, secret = tmp_path_factory.mktemp(request.param), f"teacher-of-{request.param}"
    store_secret(pipeline, secret, KEY)
    with FakeOpenAI() as teacher:
        teacher.chat = corrected
        config = {
            "store": str(folder / "store"),
            "questions": wrong_responses(folder / "wrong.jsonl"),
            "rectify": {"oracle": paid_oracle(teacher, secret=secret)},
            "train": {"context_length": 16},  # shorter than any pair
            "evaluate": {"datasets": SMALL["evaluate.datasets"]},
            "dispatch": {"stages": request.param},
        }
        yield Day(pipeline.at(folder / "store"), teacher, config)


@in_both_modes
def test_a_stage_that_fails_fails_the_run_with_its_reason(day: Day):
    day.teacher.fault = lambda body, before: REFUSED
    day.first = day.pipeline.submit("first", day.config)
    state = day.pipeline.ended(day.first)
    assert state["type"] == "FAILED"
    assert REFUSED in state["message"]
    assert "check the API key" in state["message"]
    children = day.pipeline.children(day.first)
    assert [(child["flow"], child["state"]["type"]) for child in children] == [
        ("filter", "COMPLETED"),
        ("rectify", "FAILED"),
    ]
    assert {child["deployment_id"] is not None for child in children} == {day.through_deployments}


@in_both_modes
def test_retry_of_the_run_in_the_ui_begins_with_the_failed_stage(day: Day):
    day.teacher.fault = lambda body, before: MENDED
    before = day.pipeline.made()
    day.pipeline.retry_in_ui(day.first)
    assert day.pipeline.ended(day.first)["type"] == "COMPLETED"
    assert day.new(before) == {"rectify"}
    assert day.began(day.first)["filter"] == 1
    if day.through_deployments:
        assert day.began(day.first)["rectify"] == 2
    assert len(day.teacher.answered) == len(QUESTIONS)


@mostly_in_subflows
def test_retry_of_a_run_in_the_terminal_makes_a_deleted_artifact_again(day: Day):
    used = day.pipeline.record("first")["used"]["rectify"]
    before, began = day.pipeline.made(), day.began(day.first)
    shutil.rmtree(day.pipeline.store / "rectify" / used["key"])
    retried = day.pipeline.command("prefect", "flow-run", "retry", day.first)
    assert retried.returncode == 0, retried.stdout + retried.stderr
    eventually(
        lambda: day.pipeline.read(day.first)["state"]["type"] != "COMPLETED", 30, "the retry is scheduled"
    )
    assert day.pipeline.ended(day.first)["type"] == "COMPLETED"
    assert day.new(before) == {"rectify"}
    assert day.pipeline.record("first")["used"]["rectify"]["digest"] == used["digest"]
    assert day.began(day.first)["filter"] == began["filter"]
    assert len(day.teacher.answered) == len(QUESTIONS)  # the replies were kept


@mostly_in_subflows
def test_a_new_run_with_the_same_settings_makes_nothing(day: Day):
    before, asked = day.pipeline.made(), len(day.teacher.asked)
    again = day.run("again")
    assert not day.new(before)
    assert not day.began(again)
    assert all(stage["reused"] for stage in day.pipeline.summary("again")["stages"].values())
    assert len(day.teacher.asked) == asked


@mostly_in_subflows
def test_a_run_with_one_changed_setting_makes_the_stages_it_concerns(day: Day):
    before, asked = day.pipeline.made(), len(day.teacher.asked)
    changed = day.run("changed", day.settings(rectify={"gamma": 0.5}))
    assert day.new(before) == {"rectify"}
    assert day.began(changed) == {"rectify": 1}
    assert len(day.teacher.asked) == asked  # the same requests: their replies were kept


@mostly_in_subflows
def test_where_stages_are_run_can_change_in_a_run_of_the_same_name(day: Day):
    before = day.pipeline.made()
    day.run("again", day.settings(dispatch={"stages": "auto"}))
    assert not day.new(before)
    assert day.pipeline.record("again")["config"]["dispatch"]["stages"] == "auto"


@mostly_in_subflows
def test_a_damaged_part_is_made_again_and_what_hangs_on_it_reused(day: Day):
    used, before = day.pipeline.record("again")["used"], day.pipeline.made()
    folder = day.pipeline.store / "filter" / used["filter"]["key"] / str(used["filter"]["generation"])
    part = next(folder.glob("part-*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    day.run("mended")
    assert day.new(before) == {"filter"}
    new = day.pipeline.record("mended")["used"]
    assert new["filter"]["digest"] == used["filter"]["digest"]
    assert new["rectify"]["reused"]


@mostly_in_subflows
def test_refresh_makes_one_stage_anew_and_the_others_only_if_its_content_differs(day: Day):
    old, before = day.pipeline.record("mended")["used"], day.pipeline.made()
    refreshed = day.run("refreshed", refresh=["filter"])
    assert day.new(before) == {"filter"}
    assert day.began(refreshed) == {"filter": 1}
    new = day.pipeline.record("refreshed")["used"]
    assert new["filter"]["generation"] == old["filter"]["generation"] + 1
    assert new["rectify"] == old["rectify"]


@mostly_in_subflows
def test_from_stage_makes_this_stage_and_all_after_it_anew(day: Day):
    old, before = day.pipeline.record("first")["used"], day.pipeline.made()
    anew = day.run("anew", from_stage="rectify")
    assert day.new(before) == {"rectify"}
    assert day.began(anew) == {"rectify": 1}
    new = day.pipeline.record("anew")["used"]["rectify"]
    assert (new["key"], new["generation"]) == (old["rectify"]["key"], old["rectify"]["generation"] + 1)


@mostly_in_subflows
def test_from_stage_is_refused_where_something_before_it_is_missing(day: Day):
    before = day.pipeline.made()
    refused = day.pipeline.submit("refused", day.settings(filter={"kind": "exact"}), from_stage="rectify")
    state = day.pipeline.ended(refused)
    assert state["type"] == "FAILED"
    assert "from_stage = 'rectify': of run 'refused' filter is missing" in state["message"]
    assert not day.new(before)


@mostly_in_subflows
def test_a_stage_deployment_makes_one_stage_of_a_named_run_anew(day: Day):
    old, before = day.pipeline.record("anew")["used"]["rectify"], day.pipeline.made()
    done = day.pipeline.command(
        "prefect", "deployment", "run", "rectify/stage", "--watch",
        "-p", "run_name=anew", "-p", f"store={day.pipeline.store}", "-p", "refresh=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert day.new(before) == {"rectify"}
    new = day.pipeline.record("anew")["used"]["rectify"]
    assert (new["key"], new["generation"]) == (old["key"], old["generation"] + 1)
    assert new["digest"] == old["digest"]


@mostly_in_subflows
def test_retry_of_a_stage_runs_it_where_it_has_a_deployment_and_else_in_the_terminal(day: Day):
    failed = next(run for run in day.pipeline.children(day.first) if run["flow"] == "rectify")["id"]
    used = day.pipeline.record("first")["used"]["rectify"]
    shutil.rmtree(day.pipeline.store / "rectify" / used["key"])
    retried = day.pipeline.command("prefect", "flow-run", "retry", failed)
    if day.through_deployments:
        assert retried.returncode == 0, retried.stdout + retried.stderr
        made = day.pipeline.store / "rectify" / used["key"] / "0" / "manifest.json"
        eventually(made.exists, 120, "the stage is made again")
        assert day.pipeline.ended(failed)["type"] == "COMPLETED"
    else:
        assert retried.returncode != 0
        assert "--entrypoint" in retried.stdout + retried.stderr
        assert day.began(day.run("instead")) == {"rectify": 1}
    assert day.pipeline.state(day.first) == "Completed"  # the run is as it was


@in_both_modes
def test_cancelling_the_run_cancels_its_stage_and_leaves_nothing_running(day: Day):
    day.teacher.seconds = 300
    config = day.settings(rectify={"oracle": day.config["rectify"]["oracle"] | {"temperature": 0.5}})
    asked = len(day.teacher.asked)
    cancelled = day.pipeline.submit("cancelled", config)
    eventually(lambda: len(day.teacher.asked) > asked, 120, "the Oracle is asked")
    day.pipeline.set_state(cancelled, "CANCELLING", "Cancelling")
    assert day.pipeline.ended(cancelled, 60)["type"] == "CANCELLED"
    [child] = day.pipeline.children(cancelled)
    assert day.pipeline.ended(child["id"], 60)["type"] == "CANCELLED"
    eventually(lambda: not day.pipeline.of_flow_runs(cancelled, child["id"]), 30, "their processes are gone")
    day.teacher.seconds = 0


@pytest.mark.parametrize("day", ["deployments"], indirect=True)
def test_a_retried_run_waits_for_the_stage_that_outlived_it(day: Day):
    day.teacher.seconds = 20
    config = day.settings(rectify={"oracle": day.config["rectify"]["oracle"] | {"temperature": 0.6}})
    asked = len(day.teacher.asked)
    orphaned = day.pipeline.submit("orphaned", config)
    eventually(lambda: len(day.teacher.asked) > asked, 120, "the Oracle is asked")
    for process in day.pipeline.of_flow_runs(orphaned):
        process.kill()
    eventually(lambda: day.pipeline.state(orphaned) == "Crashed", 30, "the worker tells that it is gone")
    [child] = day.pipeline.children(orphaned)
    assert child["state"]["type"] == "RUNNING"
    day.pipeline.retry_in_ui(orphaned)
    assert day.pipeline.ended(orphaned)["type"] == "COMPLETED"
    assert [run["id"] for run in day.pipeline.children(orphaned)] == [child["id"]]
    assert len(day.teacher.asked) == asked + len(QUESTIONS)
    day.teacher.seconds = 0


@pytest.mark.slow
@pytest.mark.parametrize("day", ["subflows", "deployments"], indirect=True)
def test_deleting_the_prefect_database_loses_no_artifact(day: Day):
    before = day.pipeline.made()
    assert day.pipeline.command("spot", "down").returncode == 0
    shutil.rmtree(day.pipeline.state_folder)
    assert day.pipeline.command("spot", "up").returncode == 0
    day.run("after-loss")
    assert not day.new(before)
    assert all(stage["reused"] for stage in day.pipeline.summary("after-loss")["stages"].values())
