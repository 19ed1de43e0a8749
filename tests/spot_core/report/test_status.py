"""Where a run is, from its record and from what goes on; and its page, which shows hostile text as text."""

import dataclasses
import json

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.pipeline.reached import Reached, duration
from spot_core.report.run_list import list_runs
from spot_core.report.run_page import render_run_page
from spot_core.report.status import (
    STATUS,
    ObservedStage,
    RunStatus,
    StageStatus,
    compute_status,
    read_earlier_seconds,
    read_status,
)
from spot_core.runs import Run
from spot_core.store import Recipe


def start(tmp_path, name="one"):
    return Run.create(SpotConfig.from_profile("demo", store=str(tmp_path), evaluate={"datasets": []}), name)


def use(run, name, *, reused=False, generation=0, **statistics):
    recipe = Recipe(name, {"of": "test"}, {}, 1)
    with run.store.write(recipe, at_least=generation) as slot:
        if not hasattr(slot, "digest"):
            slot.complete([], statistics=statistics)
    run.use(name, run.store.get(recipe, at_least=generation), reused=reused)


def states(run, seen=None):
    return [stage.state for stage in compute_status(run, seen or {}).stages]


def test_the_record_says_what_is_done_and_the_orchestrator_what_goes_on(tmp_path):
    run = start(tmp_path)
    assert states(run) == ["to do"] * 4 + ["skipped"]  # there is nothing to evaluate on
    use(run, "rollout", reused=True)
    use(run, "filter")
    reached = Reached(
        done=30, total=90, unit="failures", seconds=10.0, counted=20, note="12 pairs, $0.50 spent"
    )
    seen = {"rectify": ObservedStage("running", seconds=12.0, link="/runs/flow-run/x", reached=reached)}
    status = compute_status(run, seen, state="running")
    assert [stage.state for stage in status.stages] == ["reused", "made", "running", "to do", "skipped"]
    rectify = status.stages[2]
    assert (rectify.done, rectify.total, rectify.seconds_left) == (30, 90, 30.0)
    assert status.stage == "rectify"
    page = render_run_page(status)
    assert "at stage **rectify**, about **30 s** left in it" in page
    assert "[rectify](/runs/flow-run/x) | running | 30 of 90 failures | 12 s | 2.5 | 30 s |" in page


def test_what_is_made_anew_is_not_done_and_neither_is_what_follows(tmp_path):
    run = start(tmp_path)
    for name in ("rollout", "filter", "rectify", "reference", "train"):
        use(run, name)
    assert states(run) == ["made"] * 4 + ["skipped"]
    run.ask_anew(Recipe("rectify", {"of": "test"}, {}, 1))
    assert states(run) == ["made", "made", "to do", "to do", "skipped"]
    use(run, "rectify", generation=1)
    assert states(run) == ["made"] * 4 + ["skipped"]


def test_how_long_still_is_told_by_an_earlier_run_of_the_profile(tmp_path):
    run, earlier = start(tmp_path), start(tmp_path, "earlier")
    for name in ("rollout", "filter", "rectify"):
        use(earlier, name)
    known = read_earlier_seconds(run)
    assert set(known) == {"rollout", "filter", "rectify"}
    use(run, "rollout", reused=True)
    reached = Reached(done=1, total=3, unit="answers", seconds=5.0, counted=1)
    seen = {"filter": ObservedStage("running", seconds=6.0, reached=reached)}
    status = compute_status(run, seen, state="running", earlier={"rectify": 100.0})
    assert [stage.seconds_left for stage in status.stages] == [None, 10.0, 100.0, None, None]
    assert status.seconds_left is None  # nobody knows how long training takes
    status = compute_status(run, seen, state="running", earlier={"rectify": 100.0, "train": 50.0})
    assert status.seconds_left == 160.0
    assert "about **10 s** left in it, about **3 min** in all" in render_run_page(status)


def test_cost_is_what_the_run_paid_itself(tmp_path):
    run, other = start(tmp_path), start(tmp_path, "other")
    for name, cost in (("rollout", None), ("filter", None), ("rectify", 1.25)):
        use(run, name, **({} if cost is None else {"cost_usd": cost}))
        use(other, name, reused=True)
    assert compute_status(run, {}).paid_usd == 1.25
    assert compute_status(other, {}).paid_usd == 0
    page = render_run_page(compute_status(other, {}))
    assert "This run paid $0.00 for the stages that are done, and reused what had cost $1.25." in page


def test_how_the_last_attempt_ended_is_known_without_the_orchestrator(tmp_path):
    run = start(tmp_path)
    use(run, "rollout")
    assert read_status(run).state == "unfinished"
    seen = {"filter": ObservedStage("failed", message="disk full")}
    compute_status(run, seen, state="failed", message="disk full").save(run)
    [line] = list_runs(tmp_path)
    assert (line.state, line.stage, line.message) == ("failed", "filter", "disk full")
    compute_status(run, {}, state="complete").save(run)
    assert read_status(run).state == "unfinished"  # the store has the last word
    assert "results" not in json.loads((run.folder / STATUS).read_text())


def test_a_status_is_one_file_however_often_it_is_saved(location, kept):
    run = start(location)
    for number in range(3):
        compute_status(run, {}, state="failed", message=str(number)).save(run)
    assert [name for name in kept.names() if "status" in name] == [f"runs/one/{STATUS}"]
    assert read_status(run).message == "2"
    assert run.store.runs() == ["one"]


def test_runs_are_listed_with_the_one_worked_on_last_first(tmp_path):
    import os

    for age, name in enumerate(("new", "old", "older")):
        run = start(tmp_path, name)
        os.utime(run.folder / "run.json", (1e9 - age, 1e9 - age))
    assert [line.run_name for line in list_runs(tmp_path)] == ["new", "old", "older"]
    assert [line.pairs for line in list_runs(tmp_path)] == [None] * 3


def test_a_run_of_another_version_is_listed_with_why_it_cannot_be_read(tmp_path):
    start(tmp_path, "new")
    record = start(tmp_path, "old").folder / "run.json"
    document = json.loads(record.read_text())
    record.write_text(json.dumps(document | {"config": document["config"] | {"renamed": 1}}))
    lines = {line.run_name: line for line in list_runs(tmp_path)}
    assert lines["new"].state == "unfinished"
    assert lines["old"].state == "unreadable"
    assert "settings that this version does not take" in lines["old"].message


def test_a_stage_that_failed_and_was_run_by_itself_since_is_made(tmp_path):
    run = start(tmp_path)
    for name in ("rollout", "filter", "rectify", "reference", "train"):
        use(run, name)
    for state in ("failed", "waits", "cancelled"):
        assert states(run, {"rectify": ObservedStage(state, message="an earlier attempt")}) == [
            "made"
        ] * 4 + ["skipped"]
    assert states(run, {"rectify": ObservedStage("running")})[2:4] == ["running", "to do"]


HOSTILE = "</details><script>alert(1)</script> | [x](javascript:1) ` **b** \n# h"


@pytest.mark.parametrize("state", ["running", "waits", "failed"])
def test_hostile_text_is_shown_as_text(state):
    stage = StageStatus("rectify", "running", done=1, total=2, note=HOSTILE)
    status = RunStatus(
        run_name=HOSTILE,
        profile=HOSTILE,
        objective="dpo",
        created="",
        folder=HOSTILE,
        state=state,
        stages=(stage,),
        message=HOSTILE,
    )
    outside = render_run_page(status)
    if state == "failed":  # all but the first line of the reason stands in a fence that it cannot close
        before, _, rest = outside.partition("```text\n")
        log, _, after = rest.partition("\n```\n")
        assert log == "# h"
        outside = before + after
    outside = "".join(part for i, part in enumerate(outside.split("`")) if i % 2 == 0)  # code spans are inert
    assert "<script>" not in outside
    assert "[x](javascript" not in outside
    assert not any(line.startswith("# h") for line in outside.splitlines())


def test_how_a_stage_goes_stands_below_the_table():
    stage = StageStatus("train", "skipped", note="no pair was accepted: " + "of many failures " * 10)
    status = RunStatus("one", "demo", "dpo", "", "x", "running", (stage,))
    page = render_run_page(status)
    assert "| train | skipped |  |  |  |  |  |\n\n- **train**: no pair was accepted" in page


def test_only_what_changed_is_news(tmp_path):
    status = compute_status(start(tmp_path), {}, state="running", seconds=1.0)
    assert status.says_the_same(dataclasses.replace(status, seconds=9.0, at="later"))
    assert not status.says_the_same(dataclasses.replace(status, message="new"))


def test_progress_travels_as_text_and_knows_its_speed():
    reached = Reached(done=30, total=90, unit="rows", seconds=10.0, counted=20, note="fine")
    assert Reached.from_texts(reached.as_texts()) == reached
    assert str(reached) == "30 of 90 rows, about 30 s left; fine"
    assert str(Reached(0, 0, "rows", note="waits for node 2")) == "waits for node 2"
    assert Reached(5, 90, "rows", 3.0, 0).seconds_left is None  # all of it was done before
    assert Reached(90, 90, "rows", 3.0, 90).seconds_left is None
    assert Reached.from_texts({}) is None
    shown = [duration(seconds) for seconds in (0.04, 9.94, 9.96, 119.6, 600, 7200)]
    assert shown == ["0.0 s", "9.9 s", "10 s", "120 s", "10 min", "2.0 h"]
