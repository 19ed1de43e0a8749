"""Whichever process is killed or told to stop, no engine, rank or checking process of it is left after 30 seconds."""

import json
import signal
from typing import Any

import httpx2
import psutil
import pytest

from spot_core.processes.supervised import TAIL_LINES
from tests.e2e.conftest import Pipeline, eventually

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]

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
    train = {"train__ranks": 2, "train__epochs": 100_000, "train__checkpoint_every_steps": 50}
    return {"questions": source, **train}


def log_lines(pipeline: Pipeline, flow_run_id: str) -> list[str]:
    """What the run's page in the UI shows as logs."""
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
    found = httpx2.post(f"{pipeline.api}/logs/filter", json=wanted, trust_env=False).json()
    return [entry["message"] for entry in found]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def gone(processes: list[psutil.Process], what: str) -> None:
    eventually(lambda: not alive(processes), LIMIT_SECONDS, f"nothing is left of {what}")


def flow_process(pipeline: Pipeline) -> psutil.Process:
    [process] = pipeline.processes("prefect.engine")
    return process


def ranks(pipeline: Pipeline) -> list[psutil.Process]:
    return pipeline.processes("-u -m spot_core.training.worker", "/train/")


def training(pipeline: Pipeline) -> list[psutil.Process]:
    """The flow's process and all below it, once both ranks train."""
    eventually(lambda: len(ranks(pipeline)) == 2, 300, "two ranks train")
    flow = flow_process(pipeline)
    return [flow, *flow.children(recursive=True)]


def test_ranks_end_with_a_cancelled_a_stopped_and_a_killed_flow(
    pipeline: Pipeline, trains_for_long: dict[str, Any]
):
    watcher = pipeline.start("orphans", **trains_for_long)
    processes = training(pipeline)
    flow_run = pipeline.flow_run("orphans")["id"]
    pipeline.set_state(flow_run, "CANCELLING", "Cancelling")  # the UI's button
    gone(processes, "a cancelled run")
    assert pipeline.ended(flow_run)["name"] == "Cancelled"
    watcher.communicate(timeout=60)

    for how in (signal.SIGTERM, signal.SIGKILL):
        pipeline.set_state(flow_run, "SCHEDULED", "AwaitingRetry")
        processes = training(pipeline)
        flow_process(pipeline).send_signal(how)
        gone(processes, f"a flow that was sent {how.name}")
        assert pipeline.ended(flow_run)["name"] == "Crashed"


def test_a_flow_whose_worker_was_killed_lives_on_and_can_still_be_cancelled(
    pipeline: Pipeline, trains_for_long: dict[str, Any]
):
    watcher = pipeline.start("no-worker", **trains_for_long | {"train__seed": 2})
    processes = training(pipeline)
    flow_run = pipeline.flow_run("no-worker")["id"]
    workers = pipeline.processes("prefect worker start")
    assert workers
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)
    assert len(alive(processes)) == len(processes), "it lives on"
    pipeline.set_state(flow_run, "CANCELLING", "Cancelling")
    gone(processes, "a cancelled run whose worker is gone")
    assert pipeline.ended(flow_run)["name"] == "Cancelled"
    watcher.communicate(timeout=60)
    assert pipeline.command("spot", "up").returncode == 0


def test_logs_of_every_rank_are_in_the_run_and_a_failure_says_first_why(
    pipeline: Pipeline, trains_for_long: dict[str, Any]
):
    watcher = pipeline.start("log", **trains_for_long | {"train__seed": 3})
    training(pipeline)
    stage = pipeline.flow_run("log", "train")["id"]
    eventually(
        lambda: (
            {"[rank0]:", "[rank1]:"} <= {word for line in log_lines(pipeline, stage) for word in line.split()}
        ),
        60,
        "both ranks speak in the run",
    )
    [path] = [
        line.removeprefix("ranks: log: ")
        for line in log_lines(pipeline, stage)
        if line.startswith("ranks: log: ") and line.endswith("train.log")
    ]
    ranks(pipeline)[-1].kill()
    said, _ = watcher.communicate(timeout=120)
    assert watcher.returncode == 1
    flow_run = pipeline.flow_run("log")
    begin = next(
        n for n, line in enumerate(said.splitlines()) if line.startswith(f"run {flow_run['name']} Failed: ")
    )
    first = said.splitlines()[begin]
    assert "training ranks ended with status" in first
    assert "it was killed (SIGKILL), as the out-of-memory killer does" in first
    assert path in said
    assert len(said.splitlines()) - begin < TAIL_LINES + 10
    assert pipeline.read(flow_run["id"])["state"]["message"].count("it was killed (SIGKILL)") == 1


def test_an_engine_ends_with_its_server_and_with_its_guard_and_the_rollout_goes_on(pipeline: Pipeline):
    watcher = pipeline.start("engines", questions__count=2000, rollout__seed=23, train__context_length=16)
    for which in ("vllm.entrypoints.openai.api_server", "spot_core.processes.guard"):
        journal = eventually(
            lambda: next(iter(pipeline.store.glob("rollout/*/0/.work/rows.jsonl")), None), 300, "it begins"
        )
        seen = journal.stat().st_size
        eventually(lambda j=journal, seen=seen: j.stat().st_size > seen, 300, "rows come")
        flow = flow_process(pipeline)
        engine = flow.children(recursive=True)
        victim = next(p for p in engine if which in p.cmdline())
        assert any("EngineCore" in " ".join(p.cmdline()) for p in engine)
        victim.kill()
        gone(engine, f"vLLM after kill -9 of {which}")
    said, _ = watcher.communicate(timeout=400)
    assert watcher.returncode == 0, said
