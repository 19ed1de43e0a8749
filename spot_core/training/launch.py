"""Runs a training job in ranks of its own, and reports what they do while they do it."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spot_core import errors
from spot_core.devices import has_gpu
from spot_core.errors import EngineError, InputError, SpotError
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.checkpoints import cut_metrics, find_resumable
from spot_core.training.job import TrainingJob
from spot_core.training.reporting import LineTail

POLL_SECONDS = 0.5


def launch(
    job: TrainingJob,
    *,
    log_path: Path,
    on_metrics: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Runs ``job`` under torchrun and returns when its output is complete.

    Training goes on from the last complete checkpoint in the job's scratch folder, if there is one.

    Args:
        log_path: what the ranks print, appended.
        on_metrics: called with each optimizer step's row, once and in order; steps of an earlier attempt that
            this one goes on from come first.
        on_progress: called with (done, total): optimizer steps, or pairs in ``reference`` mode.

    Raises:
        UserError: the model folder, the pairs or the settings cannot be used.
        EngineError: a rank failed or was killed; the message ends with the end of the log or the diagnosis.
    """
    if not (job.model_path / "config.json").is_file():
        raise InputError(f"model path {job.model_path} is no model folder: it has no config.json")
    for folder in (job.scratch_dir, job.output_dir):
        folder.mkdir(parents=True, exist_ok=True)
    job.error_path.unlink(missing_ok=True)
    job.progress_path.unlink(missing_ok=True)
    if job.mode == "train":
        cut_metrics(job, find_resumable(job, job.settings.ranks))
    job.job_path.write_text(job.model_dump_json(), encoding="utf-8")

    metrics, progress = LineTail(job.metrics_path), LineTail(job.progress_path)

    def report() -> None:
        for row in metrics.new_rows() if job.mode == "train" else ():
            if on_metrics is not None:
                on_metrics(row)
        for row in progress.new_rows()[-1:]:
            if on_progress is not None:
                on_progress(row["done"], row["total"])

    with SupervisedProcess(_command(job), log_path=log_path, env=_environment(job)) as ranks:
        while (status := ranks.poll()) is None:
            report()
            time.sleep(POLL_SECONDS)
        report()
        if status != 0:
            raise _failure(job, status, ranks.log_tail())


def _command(job: TrainingJob) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    ranks = ["--nproc_per_node", str(job.settings.ranks)]
    return [*torchrun, *ranks, "-m", "spot_core.training.worker", str(job.job_path)]


def _environment(job: TrainingJob) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = {
        "OMP_NUM_THREADS": str(max(1, cores // job.settings.ranks)),
        "HF_HUB_OFFLINE": "1",  # the model is a folder
        "PYTHONWARNINGS": "ignore::FutureWarning",  # DeepSpeed's calls into torch, once per rank
    }
    if job.backend == "gloo" or (job.backend == "auto" and not has_gpu()):
        environment["DS_ACCELERATOR"] = "cpu"
    return environment


def _failure(job: TrainingJob, status: int, log_tail: str) -> SpotError:
    """What went wrong: a rank's own diagnosis in its own class, or the end of the log."""
    if job.error_path.exists():
        said = json.loads(job.error_path.read_text(encoding="utf-8"))
        kind: type[SpotError] = getattr(errors, said["kind"])
        if not issubclass(kind, EngineError):
            return kind(said["message"])
        return EngineError(f"{log_tail}\n{said['message']}")
    return EngineError(
        f"training ranks ended with status {status}; a rerun goes on from the last checkpoint. End of the log:\n"
        f"{log_tail}"
    )
