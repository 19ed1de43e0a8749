"""Runs that wait for a person, through a real Prefect server and worker: suspended, resumed as the UI does, and done."""

import json
import time
from pathlib import Path

import httpx2
import pyarrow.parquet as pq
import pytest

from deployments.automations import MISSED_HEARTBEATS
from deployments.local import HEARTBEAT_SECONDS
from tests.e2e.canary import shown_in_files
from tests.e2e.conftest import Pipeline, eventually
from tests.e2e.wrong_responses import (
    KEY,
    QUESTIONS,
    corrected,
    paid_oracle,
    response,
    store_secret,
    wrong_responses,
)
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

WAITS = 3  # exit status of `spot run`


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Settings of a run that needs no vLLM."""
    source = wrong_responses(tmp_path_factory.mktemp("questions") / "wrong.jsonl")
    return {"questions": source, "train__ranks": 1, "evaluate__datasets": []}


def resume(pipeline: Pipeline, flow_run_id: str) -> None:
    """What the UI's Resume button sends; pressed again where SQLite was busy (the server's 503: try again)."""

    def press() -> httpx2.Response | None:
        answer = httpx2.post(f"{pipeline.api}/flow_runs/{flow_run_id}/resume", trust_env=False)
        return None if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE else answer

    answer = eventually(press, 30, "the server takes the request")
    assert answer.json().get("status") == "ACCEPT", answer.text


def page(pipeline: Pipeline, flow_run_id: str, key: str) -> dict:
    """The newest artifact of a flow run under a key."""
    found = httpx2.post(
        f"{pipeline.api}/artifacts/filter",
        json={
            "artifacts": {"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [key]}},
            "sort": "CREATED_DESC",
        },
        trust_env=False,
    ).json()
    return found[0]


def put(folder: Path, failures: list[dict], answers: dict[str, int | None]) -> None:
    """Edits as the review page saves them; None skips."""
    lines = []
    for row in failures:
        if row["question"] not in answers:
            continue
        about = {"question_id": row["question_id"], "sample": row["sample"]}
        answer = answers[row["question"]]
        edit = {"skip": True} if answer is None else {"rectified": response(answer, row["question"])}
        lines.append(json.dumps(about | edit) + "\n")
    (folder / "edits.jsonl").write_text("".join(lines))


def failures_in(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stages", ["subflows", "deployments"])
def test_a_run_waits_for_edits_takes_them_sends_a_wrong_one_back_and_completes(
    pipeline: Pipeline, imported: dict, teacher: FakeOpenAI, tmp_path: Path, stages: str
):
    pipeline, secret = pipeline.at(tmp_path), f"key-of-{stages}"  # each starts from nothing
    (by_model, paid, _), (right, answer, _), (wrong, other, _), *rest = QUESTIONS
    teacher.chat = lambda body: corrected(body) if by_model in body["messages"][0]["content"] else "I cannot."
    store_secret(pipeline, secret, KEY)
    chain = {
        "kind": "chain",
        "oracles": [paid_oracle(teacher, secret=secret), {"kind": "human", "wait_days": 2}],
    }
    settings = imported | {"rectify": {"oracle": chain}, "dispatch": {"stages": stages}}
    done = pipeline.run("by-hand", "--refresh", "filter", **settings)
    assert done.returncode == WAITS, done.stdout + done.stderr
    flow_run = pipeline.flow_run("by-hand")["id"]
    assert "5 of 6 failures wait for a person" in done.stdout
    assert f"spot resume {flow_run}" in done.stdout
    assert pipeline.state(flow_run) == "Suspended"
    assert pipeline.flow_run("by-hand", "rectify")["state"]["name"] == "WaitsForPerson"
    assert len(teacher.asked) == len(QUESTIONS)
    assert {sent["Authorization"] for sent in teacher.headers} == {f"Bearer {KEY}"}
    [folder] = pipeline.store.glob("rectify/*/review")
    assert str(folder / "review.html") in page(pipeline, flow_run, "rectify-waits")["data"]
    failures = failures_in(folder)
    assert {row["question"] for row in failures} == {right, wrong, *(question for question, _, _ in rest)}

    put(folder, failures, {right: answer, wrong: other + 1} | {question: None for question, _, _ in rest})
    resume(pipeline, flow_run)
    [back] = eventually(lambda: len(failures_in(folder)) == 1 and failures_in(folder), 120, "one comes back")
    eventually(lambda: pipeline.state(flow_run) == "Suspended", 60, "the run waits again")
    assert back["question"] == wrong
    assert "judged incorrect" in back["reason"]

    put(folder, [back], {wrong: other})
    ended = pipeline.command("spot", "resume", "by-hand")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert pipeline.state(flow_run) == "Completed"
    assert len(teacher.asked) == len(QUESTIONS)
    became = {row["question"]: row for row in pairs_of(pipeline, "by-hand")}
    accepted = {question: row["rectified"] for question, row in became.items() if row["status"] == "accepted"}
    assert accepted == {
        by_model: response(paid, by_model),
        right: response(answer, right),
        wrong: response(other, wrong),
    }
    assert {became[question]["status"] for question, _, _ in rest} == {"refused"}
    assert pipeline.summary("by-hand")["pairs"] == 3
    # What was to be made anew was so once, not on every resume.
    assert pipeline.record("by-hand")["used"]["filter"]["generation"] == 0
    # Artifacts, Prefect's database, results, and the logs of server and worker.
    assert shown_in_files([pipeline.store, pipeline.state_folder], {"key": KEY}) == []


@pytest.mark.slow
def test_a_stage_waits_for_its_cost_to_be_agreed_to_is_not_taken_for_dead_and_survives_being_cancelled(
    pipeline: Pipeline, imported: dict, teacher: FakeOpenAI
):
    teacher.chat = corrected
    oracle = paid_oracle(teacher, secret="another-key")
    costly = {
        "oracle": oracle,
        "prices": {"teacher": {"input": 1.0, "output": 2.0}},
        "confirm_above_usd": 0.0,
    }
    failed = pipeline.run("paid", **imported, rectify=costly)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "there is no Secret block of this name" in failed.stdout
    store_secret(pipeline, "another-key", KEY)
    stage = ("-p", "run_name=paid", "-p", f"store={pipeline.store}", "-p", "refresh=true")
    started = pipeline.command("prefect", "deployment", "run", "rectify/stage", *stage)
    assert started.returncode == 0, started.stdout + started.stderr
    flow_run = pipeline.flow_run("paid", "rectify")["id"]
    eventually(lambda: pipeline.state(flow_run) == "Suspended", 120, "the stage waits")
    assert "The first prompt" in page(pipeline, flow_run, "rectify-estimate")["data"]
    assert "Resume this run to spend" in page(pipeline, flow_run, "rectify-waits")["data"]
    time.sleep(MISSED_HEARTBEATS * HEARTBEAT_SECONDS + 30)
    assert pipeline.state(flow_run) == "Suspended"
    unknown = pipeline.command("spot", "resume", "nobody")
    assert unknown.returncode == 2
    assert f"no flow runs of this name wait; those that wait: paid ({flow_run})" in unknown.stderr

    assert pipeline.command("prefect", "flow-run", "cancel", flow_run).returncode == 0
    eventually(lambda: pipeline.state(flow_run) == "Cancelled", 30, "the stage is cancelled")
    retried = pipeline.command("prefect", "flow-run", "retry", flow_run)
    assert retried.returncode == 0, retried.stdout + retried.stderr
    eventually(lambda: pipeline.state(flow_run) == "Suspended", 120, "the stage waits again")
    assert teacher.asked == []
    resumed = pipeline.command("spot", "resume", flow_run)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert {row["status"] for row in pairs_of(pipeline, "paid")} == {"accepted"}
    assert len(teacher.asked) == len(QUESTIONS)


def pairs_of(pipeline: Pipeline, run_name: str) -> list[dict]:
    used = pipeline.record(run_name)["used"]["rectify"]
    folder = pipeline.store / "rectify" / used["key"] / str(used["generation"])
    rows = [row for part in folder.glob("part-*.parquet") for row in pq.read_table(part).to_pylist()]
    assert len(rows) == len(QUESTIONS)
    return rows
