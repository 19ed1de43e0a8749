"""Three work pools, as on a cluster: each stage is run by the worker of its own pool."""

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Pipeline, eventually
from tests.e2e.test_side_by_side import config, logs

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]


RANKS = ("-m spot_core.training.worker", "/train/")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Services of their own, since deployments have one pool at a time."""
    pipeline = Pipeline(tmp_path_factory.mktemp("pools"))
    try:
        up = pipeline.command("spot", "up", "--pools")
        assert up.returncode == 0, up.stdout + up.stderr
        yield pipeline
    finally:
        pipeline.command("spot", "down")


def test_each_stage_runs_in_its_own_pool_and_those_of_the_parents_pool_within_it(pools: Pipeline):
    settings = config(pools.store, rectify={"oracle": {"kind": "calculator"}})
    run = pools.submit("three", settings)
    assert pools.ended(run, 400)["type"] == "COMPLETED"
    assert pools.read(run)["work_pool_name"] == "cpu"
    where = {child["flow"]: child["work_pool_name"] for child in pools.children(run)}
    assert where == {"filter": None, "rectify": "api", "train": "gpu"}


def test_the_topology_stays_when_a_run_is_started(pools: Pipeline):
    up = pools.command("spot", "up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "deploying" not in up.stdout


def test_a_stage_that_no_worker_takes_is_reported_with_the_command_that_starts_one(pools: Pipeline):
    [worker] = pools.processes("worker", "start", "--pool", "api")
    worker.kill()
    worker.wait(30)
    shutil.rmtree(pools.store / "rectify")
    run = pools.submit("lonely", config(pools.store, rectify={"oracle": {"kind": "calculator"}}))
    said = eventually(
        lambda: [line for line in logs(pools, run) if "no worker of the pool api" in line],
        120,
        "it is reported",
    )
    assert "prefect worker start --pool api --type process" in said[0]
    assert pools.command("spot", "up").returncode == 0
    assert pools.ended(run, 400)["type"] == "COMPLETED"


def test_a_run_whose_worker_was_killed_is_cancelled_with_the_stage_that_another_worker_runs(pools: Pipeline):
    train = {"ranks": 1, "epochs": 100_000, "checkpoint_every_steps": 50}
    run = pools.submit(
        "headless", config(pools.store, rectify={"oracle": {"kind": "calculator"}}, train=train)
    )
    eventually(lambda: pools.processes(*RANKS), 300, "it trains")
    [worker] = pools.processes("worker", "start", "--pool", "cpu")
    worker.kill()
    pools.set_state(run, "CANCELLING", "Cancelling")
    assert pools.ended(run, 60)["name"] == "Cancelled"
    eventually(lambda: not pools.processes(*RANKS), 30, "the stage has ended too")
    [stage] = [child for child in pools.children(run) if child["flow"] == "train"]
    assert pools.ended(stage["id"], 60)["name"] == "Cancelled"
    assert pools.command("spot", "up").returncode == 0
