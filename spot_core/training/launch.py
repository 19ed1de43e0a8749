"""Runs a training job in ranks of its own, on this node and the others, and reports what they do while they do it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spot_core import errors
from spot_core.devices import list_gpus
from spot_core.errors import EngineError, InputError, SpotError
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.checkpoints import cut_metrics, find_resumable, make_universal
from spot_core.training.job import LineTail, TrainingJob
from spot_core.training.line import Diagnosis
from spot_core.training.meeting import Meeting, NodeFailure, join_command
from spot_core.training.preflight import resolve_ranks
from spot_core.training.ranks import ranks_of
from spot_core.training.symptoms import TRAINING

POLL_SECONDS = 0.5
WAIT_FOR_NODES_SECONDS = 600.0
_CAUSE_SECONDS = 10.0
"""How long to wait, when ranks fail here, for what other nodes say: the cause may be there."""


def launch(
    job: TrainingJob,
    *,
    log_path: Path,
    on_metrics: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    wait_seconds: float = WAIT_FOR_NODES_SECONDS,
) -> None:
    """Runs ``job`` under torchrun and returns when its output is complete.

    Training goes on from the last complete checkpoint in the job's scratch folder, if there is one, with any number
    of ranks; ``ranks: auto`` is one for each GPU of this machine. With several nodes this is node 0: it waits until the others have come (see `spot_core.training.node`).

    Args:
        log_path: what the ranks print, appended; those of other nodes print into files beside it.
        on_metrics: called with each optimizer step's row, once and in order; steps of an earlier attempt that
            this one goes on from come first.
        on_progress: called with (done, total): optimizer steps, or pairs in ``reference`` mode.
        on_wait: called with what a person has to do when other nodes are waited for.
        wait_seconds: how long to wait for them.

    Raises:
        UserError: the model folder, the pairs or the settings cannot be used.
        EngineError: a node did not come or went away, or a rank failed or was killed; the message ends with the
            end of the log or the diagnosis.
    """
    gpus = () if job.backend == "gloo" else list_gpus()
    job = job.model_copy(update={"settings": resolve_ranks(job.settings, gpus)})
    if not (job.model_path / "config.json").is_file():
        raise InputError(f"model path {job.model_path} is no model folder: it has no config.json")
    for folder in (job.scratch_dir, job.output_dir):
        folder.mkdir(parents=True, exist_ok=True)
    job.error_path.unlink(missing_ok=True)
    job.progress_path.unlink(missing_ok=True)
    if job.mode == "train":
        found = find_resumable(job)
        if found is not None and not found.fits(job.settings):
            found = make_universal(job, found, log_path=log_path)
        cut_metrics(job, found)
    job.job_path.write_text(job.model_dump_json(), encoding="utf-8")

    metrics, progress = LineTail(job.metrics_path), LineTail(job.progress_path)

    def report() -> None:
        for row in metrics.new_rows() if job.mode == "train" else ():
            if on_metrics is not None:
                on_metrics(row)
        for row in progress.new_rows()[-1:]:
            if on_progress is not None:
                on_progress(row["done"], row["total"])

    with Meeting(job.settings) as meeting:
        meeting.gather(wait_seconds, on_wait)
        seat = meeting.begin(job, log_path=log_path)
        with ranks_of(job, seat, log_path=log_path) as ranks:
            while (status := ranks.poll()) is None and not meeting.failures():
                report()
                time.sleep(POLL_SECONDS)
            report()
            if status != 0:
                raise _failure(job, ranks, meeting.failures(_CAUSE_SECONDS))


def _failure(job: TrainingJob, ranks: SupervisedProcess, elsewhere: list[NodeFailure]) -> SpotError:
    """What went wrong: a rank's own diagnosis in its own class, or what the logs, here and on other nodes, tell."""
    diagnoses = [failed.diagnosis for failed in elsewhere if failed.diagnosis is not None]
    if job.error_path.exists():
        diagnoses.insert(0, Diagnosis(**json.loads(job.error_path.read_text(encoding="utf-8"))))
    if diagnoses:
        kind: type[SpotError] = getattr(errors, diagnoses[0].kind)
        if not issubclass(kind, EngineError):
            return kind(diagnoses[0].message)
        return EngineError(f"{diagnoses[0].message}\nThe end of {ranks.log_path}:\n{ranks.log_tail()}")
    remedy = "A rerun goes on from the last checkpoint"
    if job.settings.rendezvous is not None and job.settings.nodes > 1:
        remedy += f", once `{join_command(job.settings.rendezvous)}` is started again on every other node"
    status = ranks.poll()
    what = "another node has failed" if status is None else f"training ranks ended with status {status}"
    others = "".join(f"\n{failed.node}: {failed.said}" for failed in elsewhere)
    return EngineError(ranks.account(what, TRAINING, then=f"{remedy}.") + others)
