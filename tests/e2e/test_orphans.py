"""Whichever process is killed or told to stop, no engine, rank or checking process of it is left after 30 seconds."""

import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from spot_core.demo import STUDENT_PATH
from tests.e2e.conftest import Pipeline, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

LIMIT_SECONDS = 30
# Right but for a carry that is forgotten: the calculator mends them, and there is something to train on.
CHAINS = ((48, 8), (37, 9), (56, 7), (29, 5), (68, 4), (45, 6))


@pytest.fixture(scope="module")
def trains_for_long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a run that needs no vLLM and trains until it is stopped."""
    path = tmp_path_factory.mktemp("questions") / "wrong.jsonl"
    lines = []
    for start, second in CHAINS:
        right, wrong = start + second - 8, start + second - 18
        response = f"{start}+{second}={wrong + 8}\n{wrong + 8}-8={wrong}\nAnswer: \\boxed{{{wrong}}}"
        lines.append({"question": f"Compute {start}+{second}-8.", "answer": right, "response": response})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    source = {"kind": "file", "path": str(path), "columns": {"response": "response"}, "near_duplicates": 0}
    return {
        "questions": source,
        "train__ranks": 2,
        "train__epochs": 50_000,
        "train__checkpoint_every_steps": 50,
    }


def state(pipeline: Pipeline, flow_run_id: str) -> str:
    return httpx2.get(f"{pipeline.api}/flow_runs/{flow_run_id}", trust_env=False).json()["state"]["name"]


def log_lines(pipeline: Pipeline, flow_run_id: str) -> list[str]:
    """What the run's page in the UI shows as logs."""
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
    found = httpx2.post(f"{pipeline.api}/logs/filter", json=wanted, trust_env=False).json()
    return [entry["message"] for entry in found]


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def flow_process(pipeline: Pipeline) -> psutil.Process:
    [process] = pipeline.processes("prefect.engine")
    return process


def gone(processes: list[psutil.Process], what: str) -> None:
    eventually(lambda: not alive(processes), LIMIT_SECONDS, f"nothing is left of {what}")


def training(pipeline: Pipeline) -> list[psutil.Process]:
    """The flow's process and all below it, once both ranks train."""
    ranks = (
        ("-u", "-m", "spot_core.training.worker", "out") if False else ("spot_core.training.worker", "train")
    )
    eventually(lambda: len(pipeline.processes("-u", *ranks)) == 2, 240, "two ranks train")
    return tree(flow_process(pipeline))


@pytest.mark.slow
def test_ranks_end_with_a_cancelled_a_stopped_and_a_killed_flow(
    pipeline: Pipeline, trains_for_long: dict[str, Any]
):
    watcher = pipeline.start("orphans", **trains_for_long)
    try:
        processes = training(pipeline)
        flow_run = pipeline.flow_run("orphans")["id"]
        stage = pipeline.flow_run("orphans", "train")["id"]
        eventually(
            lambda: any("ranks | [rank1]" in line for line in log_lines(pipeline, stage)), 60, "rank 1 speaks"
        )
        [log_path] = [
            line.removeprefix("ranks: log: ")
            for line in log_lines(pipeline, stage)
            if line.startswith("ranks: log: ") and "train.log" in line
        ]
        assert "[rank0]: " in Path(log_path).read_text()
        cancelled = pipeline.command("prefect", "flow-run", "cancel", flow_run)
        assert cancelled.returncode == 0, cancelled.stderr
        gone(processes, "a cancelled run")
        eventually(lambda: state(pipeline, flow_run) == "Cancelled", 30, "it is cancelled")
    finally:
        watcher.kill()

    for how, ends_as in ((signal.SIGTERM, "Crashed"), (signal.SIGKILL, "Crashed")):
        retried = pipeline.command("prefect", "flow-run", "retry", flow_run)
        assert retried.returncode == 0, retried.stdout + retried.stderr
        processes = training(pipeline)
        flow_process(pipeline).send_signal(how)
        gone(processes, f"a flow that was sent {how.name}")
        eventually(lambda s=ends_as: state(pipeline, flow_run) == s, 60, f"it is {ends_as}")
