"""Ranks killed with SIGKILL, at chosen and at random moments: a rerun ends with the very same weights and metrics."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
import torch

from spot_core.errors import EngineError
from spot_core.training import launch as launching
from spot_core.training.checkpoints import latest
from spot_core.training.job import TrainingJob
from spot_core.training.launch import launch
from tests.spot_core.training.stage import SETTINGS, STEPS, Stage, living_ranks, timeless

pytestmark = pytest.mark.engine

SEED, KILLS = 0, 10


@contextlib.contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs ``work`` in a thread meanwhile, which ends when the event is set."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kill_while_saving(job: TrainingJob, over: threading.Event) -> None:
    """Kills rank 1 while a checkpoint, but the first, is half written.

    The rank is stopped as soon as the folder of a checkpoint without a marker is seen. If the marker does not
    follow, the others wait for this rank's part, and it will never be written.
    """
    tried: set[Path] = set()
    rank: psutil.Process | None = None
    while not over.is_set():
        if rank is None:  # found in time: to look for it takes longer than a checkpoint
            rank = next(iter(living_ranks(job)[1:]), None)
            continue
        folders = sorted(set(job.state_dir.glob("step-*")) - tried)
        marked = [folder for folder in folders if _is_marked(folder)]
        if not marked or folders[-1] in marked:
            time.sleep(0.0005)
            continue
        newest = folders[-1]
        rank.suspend()
        time.sleep(0.5)
        if not _is_marked(newest):
            rank.kill()
            return
        tried.add(newest)
        rank.resume()


def _is_marked(folder: Path) -> bool:
    return (folder / "complete.json").exists()


def no_process_is_left(job: TrainingJob) -> bool:
    return not [p for p in psutil.process_iter(["cmdline"]) if str(job.job_path) in (p.info["cmdline"] or [])]


def assert_same_end(
    stage: Stage, name: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert timeless(rows) == timeless(expected)
    for weight, value in stage.weights("undisturbed").items():
        assert torch.equal(stage.weights(name)[weight], value), weight


def test_a_rank_killed_while_saving_fails_the_stage_and_a_rerun_ends_with_the_same_weights(
    stage: Stage, undisturbed: list[dict[str, Any]]
) -> None:
    job = stage.job("killed")
    with (
        in_background(lambda over: kill_while_saving(job, over)),
        pytest.raises(EngineError, match="goes on from the last checkpoint"),
    ):
        launch(job, log_path=stage.folder / "killed.log")
    assert no_process_is_left(job)
    assert not (job.output_dir / "checkpoint").exists()
    half = [folder for folder in job.state_dir.glob("step-*") if not _is_marked(folder)]
    found = latest(job.state_dir)
    assert found is not None and len(half) == 1 and half[0].name > found.tag, "not killed while saving"

    rows = stage.train("killed")
    assert f"going on after step {found.steps_done} of {STEPS}" in (stage.folder / "killed.log").read_text()
    assert_same_end(stage, "killed", rows, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_at_random_steps_leave_no_trace_in_weights_or_metrics(
    stage: Stage, undisturbed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "POLL_SECONDS", 0.005)  # a step takes some 30 ms
    random = Random(SEED)
    steps = sorted(random.sample(range(STEPS - 5), KILLS))
    ranks = [random.randrange(SETTINGS.ranks) for _ in steps]
    print(f"seed {SEED}: after steps {steps} ranks {ranks} are killed")
    job = stage.job("ten-kills")
    log_path = stage.folder / "ten-kills.log"
    killed: list[tuple[int, int, int]] = []  # (went on after step, killed after step, rank)
    for step, rank in zip(steps, ranks, strict=True):
        done = found.steps_done if (found := latest(job.state_dir)) else 0
        fatal: list[int] = []

        def kill(
            row: dict[str, Any], rank: int = rank, step: int = max(step, done), fatal: list[int] = fatal
        ) -> None:
            if row["step"] >= step and not fatal:
                os.kill(living_ranks(job)[rank].pid, signal.SIGKILL)
                fatal.append(row["step"])

        with pytest.raises(EngineError, match="goes on from the last checkpoint"):
            launch(job, log_path=log_path, on_metrics=kill)
        assert no_process_is_left(job)
        assert not (job.output_dir / "checkpoint").exists()
        killed.append((done, fatal[0], rank))
    print("went on after, killed after, rank:", killed)
    assert len({after for _, after, _ in killed}) > KILLS // 2, "the kills are not spread over the run"

    rows = stage.train("ten-kills")
    assert_same_end(stage, "ten-kills", rows, undisturbed)
