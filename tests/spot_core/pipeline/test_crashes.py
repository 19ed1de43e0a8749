"""kill -9 in the middle loses and doubles nothing; two processes that want the same artifact make it once."""

import multiprocessing
import time
from collections import Counter
from multiprocessing.context import ForkServerContext

import pytest

from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import QUESTIONS

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children that start with the heavy modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["spot_core.pipeline.stages", "transformers.models.auto.tokenization_auto"]
    )
    return context


def roll_out(store: str, name: str) -> None:
    stages.roll_out(Run.open(store, name))


def roll_out_and_say(store: str, name: str, said) -> None:
    run = Run.open(store, name)
    stages.roll_out(run)
    said.put(run.record.used["rollout"].reused)


def wait_until(condition) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_kill_9_loses_and_doubles_no_row(fake, configure, processes):
    config = configure()
    run = Run.create(config, "one")
    stages.prepare(run)
    fake.seconds = 0.1
    child = processes.Process(target=roll_out, args=(config.store, "one"))
    child.start()
    wait_until(lambda: len(fake.answered) >= 10)
    child.kill()
    child.join(WAIT_SECONDS)
    assert not Resolver(run).complete("rollout")

    fake.seconds = 0.0
    artifact = stages.roll_out(run)
    rows = list(artifact.rows_as_dicts())
    assert len({row["question_id"] for row in rows}) == len(rows) == QUESTIONS
    # Asked twice is at most what was in flight.
    times = Counter(body["seed"] for body in fake.asked)
    assert set(times) == {row["seed"] for row in rows}
    assert sum(times.values()) - QUESTIONS <= config.engine.concurrency


def test_two_processes_make_one_artifact(fake, configure, processes):
    config = configure()
    fake.seconds = 0.05
    for name in ("one", "two"):
        stages.prepare(Run.create(config, name))
    said = processes.Queue()
    children = [
        processes.Process(target=roll_out_and_say, args=(config.store, name, said)) for name in ("one", "two")
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(WAIT_SECONDS)
        assert child.exitcode == 0
    assert sorted(said.get(timeout=5) for _ in children) == [False, True]
    assert len(fake.asked) == QUESTIONS
