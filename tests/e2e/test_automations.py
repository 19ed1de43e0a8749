"""Automations and the schedule of `spot up`, on a real Prefect server: applied once, and a failed run is told of once."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import psutil
import pytest

from deployments.automations import CANCEL_SECONDS, FAILURES, UNENDED, UNSTARTED, ZOMBIES
from deployments.local import START_SECONDS
from deployments.schedules import SLUG
from tests.e2e.conftest import Pipeline, eventually
from tests.e2e.wrong_responses import KEY, paid_oracle, store_secret, wrong_responses
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

SECRET_PATH = "/hooks/T0000-very-secret"


class Receiver:
    """A webhook on loopback that keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[dict] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json"
                received.append({"path": self.path} | json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}{SECRET_PATH}"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def asked(pipeline: Pipeline, path: str) -> list[dict]:
    return httpx2.post(f"{pipeline.api}/{path}/filter", json={}, trust_env=False).json()


def applied(pipeline: Pipeline) -> dict:
    """What is on the server, with the times of the last change."""
    automations = {a["name"]: (a["id"], a["updated"], a["enabled"]) for a in asked(pipeline, "automations")}
    deployment = httpx2.get(f"{pipeline.api}/deployments/name/spot/full", trust_env=False).json()
    schedules = [(s["slug"], s["id"], s["updated"], s["schedule"]) for s in deployment["schedules"]]
    return {"automations": automations, "schedules": schedules}


def up(pipeline: Pipeline, *arguments: str) -> None:
    done = pipeline.command("spot", "up", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SECRET_PATH not in done.stdout + done.stderr


def test_what_is_asked_for_is_made_once_and_a_failed_run_is_told_of_once(
    pipeline: Pipeline,
    tmp_path: Path,
    teacher: FakeOpenAI,
    receiver: Receiver,
):
    wanted = ("--notify", receiver.url, "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin")
    up(pipeline, *wanted)
    first = applied(pipeline)
    assert set(first["automations"]) == {ZOMBIES, UNSTARTED, UNENDED, FAILURES}
    [(slug, _, _, times)] = first["schedules"]
    assert (slug, times["cron"], times["timezone"]) == (SLUG, "0 2 * * *", "Europe/Berlin")
    up(pipeline, *wanted)
    assert applied(pipeline) == first

    source = wrong_responses(tmp_path / "wrong.jsonl")
    oracle = paid_oracle(teacher, secret="nowhere")
    failed = pipeline.run("told", questions=source, rectify={"oracle": oracle})
    assert failed.returncode == 1, failed.stdout + failed.stderr
    run = pipeline.flow_run("told")
    eventually(lambda: receiver.received, 60, "the failure is told of")
    again = pipeline.command("prefect", "deployment", "run", "spot/full", "-p", "profile=absent.yaml")
    assert again.returncode == 0, again.stderr
    eventually(lambda: len(receiver.received) > 1, 60, "the next failure is told of")
    told, other = receiver.received
    assert told["path"] == SECRET_PATH
    assert (told["run"], told["flow"], told["state"]) == ("told", "spot", "Failed")
    assert told["reason"] == run["state"]["message"]
    assert "there is no Secret block of this name" in told["reason"]
    assert told["link"].endswith(f"/runs/flow-run/{run['id']}")
    assert all(part in told["text"] for part in (told["run"], told["state"], told["reason"], told["link"]))
    assert "absent.yaml" in other["reason"]
    logs = [path.read_text(errors="replace") for path in (pipeline.state_folder / "logs").iterdir()]
    assert not any(SECRET_PATH in log for log in logs)


def test_deploying_anew_leaves_them_and_asking_for_something_else_changes_them(
    pipeline: Pipeline, receiver: Receiver
):
    up(pipeline, "--notify", receiver.url, "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin")
    first = applied(pipeline)
    (pipeline.state_folder / "deployed.json").unlink()
    up(pipeline)
    assert applied(pipeline) == first
    up(pipeline, "--schedule", "30 3 * * 1", "--notify-block", "webhook/spot-failures")
    again = applied(pipeline)
    assert again["automations"] == first["automations"]
    [(_, _, _, times)] = again["schedules"]
    assert (times["cron"], times["timezone"]) == ("30 3 * * 1", "UTC")
    refused = pipeline.command("spot", "up", "--notify-block", "slack-webhook/nobody")
    assert refused.returncode == 2
    assert "--notify-block slack-webhook/nobody: there is no such block" in refused.stderr


def test_a_run_that_was_going_on_when_the_machine_was_switched_off_is_crashed_in_the_morning_and_told_of(
    pipeline: Pipeline,
    tmp_path: Path,
    teacher: FakeOpenAI,
    receiver: Receiver,
):
    up(pipeline, "--notify", receiver.url)
    receiver.received.clear()
    teacher.seconds = 600  # never answers
    store_secret(pipeline, "killed-key", KEY)
    oracle = paid_oracle(teacher, secret="killed-key")
    source = wrong_responses(tmp_path / "wrong.jsonl")
    watching = pipeline.start("killed", questions=source, rectify={"oracle": oracle})
    eventually(lambda: teacher.asked, 240, "the Oracle is asked")
    run, stage = (pipeline.flow_run("killed", *flow)["id"] for flow in ((), ("rectify",)))
    database = pipeline.state_folder / "prefect" / "prefect.db"
    eventually(lambda: awaited(database, run) and awaited(database, stage), 60, "heartbeats were noted")
    watching.kill()
    watching.wait()
    for process in [*pipeline.processes("server", "start"), *pipeline.processes("worker", "start")]:
        _kill(process)
    for process in pipeline.of_flow_runs(run):
        _kill(process)
    pass_hours(database, 9)
    up(pipeline)
    eventually(lambda: pipeline.state(run) == "Crashed", 60, "it is Crashed")
    eventually(lambda: pipeline.state(stage) == "Crashed", 60, "so is the stage in its process")
    eventually(lambda: receiver.received, 60, "the crash is told of")
    [told] = receiver.received
    assert (told["run"], told["state"]) == ("killed", "Crashed")
    assert "no heartbeat for" in told["reason"]


def awaited(database: Path, flow_run: str) -> bool:
    """Whether the server waits for the next heartbeat of a flow run."""
    with closing(sqlite3.connect(database)) as opened:
        keys = [key for (key,) in opened.execute("SELECT bucketing_key FROM automation_bucket")]
    return any(flow_run in key for key in keys)


def pass_hours(database: Path, hours: int) -> None:
    """Lets all that the server knows, and what it waits for, be some hours older."""
    with closing(sqlite3.connect(database)) as opened, opened:
        for table, column in (
            ("automation_bucket", "start"),
            ("automation_bucket", "end"),
            ("flow_run_state", "timestamp"),
        ):
            earlier = f"strftime('%Y-%m-%d %H:%M:%f', \"{column}\", '-{hours} hours')"
            opened.execute(f'UPDATE {table} SET "{column}" = {earlier}')


def test_runs_whose_worker_was_killed_before_it_started_them_end_and_can_be_retried(pipeline: Pipeline):
    up(pipeline)
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}
    deployment = pipeline.ask("deployments/name/spot/full")["id"]
    claimed, cancelled = (
        pipeline.ask(
            f"deployments/{deployment}/create_flow_run", {"state": later, "parameters": {"dry_run": True}}
        )["id"]
        for _ in range(2)
    )
    for run in (claimed, cancelled):
        pipeline.set_state(run, "PENDING", "Submitting")  # as a worker does, whose last deed it was
    pipeline.set_state(cancelled, "CANCELLING", "Cancelling")
    assert pipeline.ended(cancelled, CANCEL_SECONDS + 60)["name"] == "Cancelled"
    assert pipeline.ended(claimed, START_SECONDS + 60)["name"] == "Crashed"
    for run in (claimed, cancelled):
        pipeline.retry_in_ui(run)
        eventually(lambda run=run: pipeline.state(run) == "Completed", 120, "it runs")


def _kill(process: psutil.Process) -> None:
    try:
        os.kill(process.pid, 9)
    except ProcessLookupError:
        return
