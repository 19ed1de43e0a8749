"""Filter and rectify on a real Ray cluster of two nodes make the artifacts of one machine, through kill -9 of a worker."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx2
import psutil
import pytest

from benchmarks.sharding.cluster import ray_cluster, shard_processes
from spot_core.config.spot import SpotConfig
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.pipeline.shards import Journals
from spot_core.runs import Run
from tasks.sharding import LOOPBACK
from tests.e2e.conftest import Pipeline, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ROWS = 2_000
SHARDS = 8
SYMPY = 90
"""Every so many rows an answer that only SymPy can compare, so that the stages take a while."""
STAGES = {"filter": ("verdicts", "answers"), "rectify": ("rows", "failures")}
"""Folder of each stage's journals, and how its rows are called."""


@pytest.fixture
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


@pytest.fixture
def responses(tmp_path: Path) -> dict:
    """Sums, two thirds of them with a slip, as a source of questions."""
    random = Random(0)
    lines = []
    for number in range(ROWS):
        a, b = random.randint(10, 9_999), random.randint(2, 99)
        said = a + b + (10 if number % 3 else 0)
        boxed = rf"\sqrt{{{said}^2}}" if number % SYMPY == 0 else said
        text = f"{a}+{b}={said}\nAnswer: \\boxed{{{boxed}}}"
        lines.append({"question": f"Compute {a}+{b} for {number}.", "answer": str(a + b), "response": text})
    path = tmp_path / "responses.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return {"kind": "file", "path": str(path), "columns": {"response": "response"}, "near_duplicates": 0}


def begun(store: Path, responses: dict, **settings: object) -> Run:
    config = SpotConfig.from_profile(
        "demo",
        store=str(store),
        questions=responses,
        rectify={"oracle": {"kind": "calculator"}},
        evaluate={"datasets": []},
        **settings,
    )
    run = Run.create(config, "one")
    stages.prepare(run)
    return run


def begin_stage(pipeline: Pipeline, stage: str, store: Path) -> str:
    """Submits the stage's deployment; the id of the flow run."""
    deployment = httpx2.get(f"{pipeline.api}/deployments/name/{stage}/stage", trust_env=False).json()["id"]
    parameters = {"run_name": "one", "store": str(store)}
    answer = httpx2.post(
        f"{pipeline.api}/deployments/{deployment}/create_flow_run",
        json={"parameters": parameters, "state": {"type": "SCHEDULED"}},
        trust_env=False,
    )
    assert answer.is_success, answer.text
    return answer.json()["id"]


def journaled(store: Path, journals: str) -> int:
    """Rows that the shards of a stage at work have done."""
    records = [
        record for folder in store.glob(f"*/*/*/.work/{journals}") for record in Journals(folder).records()
    ]
    return sum(len(record.get("verdict", [record])) for record in records)


def task_runs(pipeline: Pipeline, flow_run: str) -> list[dict]:
    """What the UI shows below a flow run."""
    wanted = {"flow_runs": {"id": {"any_": [flow_run]}}}
    return httpx2.post(f"{pipeline.api}/task_runs/filter", json=wanted, trust_env=False).json()


@pytest.mark.slow
def test_two_nodes_make_what_one_machine_makes_though_a_worker_is_killed(
    pipeline: Pipeline, cluster: str, responses: dict, tmp_path: Path
):
    alone = begun(tmp_path / "alone", responses)
    made = {"filter": stages.check_answers(alone), "rectify": stages.rectify_failures(alone)}
    assert made["rectify"].statistics["pairs"] > ROWS / 3
    sharding = {"engine": "ray", "address": cluster, "at_once": 2, "rows_per_shard": 1 + ROWS // SHARDS}
    store = tmp_path / "sharded"
    begun(store, responses, sharding=sharding)
    for stage, (journals, rows) in STAGES.items():
        flow_run = begin_stage(pipeline, stage, store)

        def at_work(journals: str = journals) -> list[psutil.Process]:
            return shard_processes() if journaled(store, journals) else []

        [victim, *_] = eventually(at_work, 240, f"the shards of {stage} are at work")
        victim.kill()
        assert journaled(store, journals) < made[stage].rows
        ended = pipeline.ended(flow_run, seconds=240)
        assert ended["type"] == "COMPLETED", ended["message"]
        [node] = Resolver(Run.open(str(store), "one")).stage(stage)
        assert node.artifact.digest == made[stage].digest
        assert node.artifact.rows == made[stage].rows
        shown = [run for run in task_runs(pipeline, flow_run) if run["name"].startswith(f"{rows}: ")]
        assert len(shown) >= SHARDS if stage == "filter" else len(shown) >= 2
        assert {run["state_type"] for run in shown} == {"COMPLETED"}


@pytest.mark.slow
def test_a_cluster_of_this_machine_listens_on_loopback_and_ends_with_a_cancelled_stage_which_goes_on(
    pipeline: Pipeline, responses: dict, tmp_path: Path
):
    alone = stages.check_answers(begun(tmp_path / "alone", responses))
    store = tmp_path / "sharded"
    begun(store, responses, sharding={"engine": "ray", "at_once": 2, "rows_per_shard": 100})
    flow_run = begin_stage(pipeline, "filter", store)
    eventually(lambda: journaled(store, "verdicts"), 180, "the shards are at work")
    listening: set[str] = set()
    for process in pipeline.of_flow_runs(flow_run):
        with suppress(psutil.NoSuchProcess):  # Ray's idle workers come and go
            listening |= {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    assert listening == {LOOPBACK}
    pipeline.set_state(flow_run, "CANCELLING", "Cancelling")
    assert pipeline.ended(flow_run)["type"] == "CANCELLED"
    eventually(lambda: not pipeline.of_flow_runs(flow_run), 30, "no process is left")
    before = journaled(store, "verdicts")
    assert 0 < before < alone.rows
    ended = pipeline.ended(begin_stage(pipeline, "filter", store), seconds=240)
    assert ended["type"] == "COMPLETED", ended["message"]
    [node] = Resolver(Run.open(str(store), "one")).stage("filter")
    assert node.artifact.digest == alone.digest
