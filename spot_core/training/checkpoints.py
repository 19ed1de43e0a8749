"""Resumable checkpoints on disk: which are complete, whether one fits the job, and what is thrown away.

DeepSpeed writes the state of a step into a folder of its own; the marker is renamed into it last. A folder
without a marker does not count. For another number of ranks a checkpoint is converted to DeepSpeed's universal format,
one file per parameter. No torch here: `launch` looks before it starts anything.
"""

import json
import logging
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spot_core.config.train import TrainConfig
from spot_core.devices import cores
from spot_core.errors import ConfigError, EngineError
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.job import TrainingJob, truncate
from spot_core.training.symptoms import TRAINING

log = logging.getLogger(__name__)

_MARKER = "complete.json"


@dataclass(frozen=True)
class Checkpoint:
    """The marker of a complete checkpoint."""

    steps_done: int
    world_size: int
    zero_stage: int
    fingerprint: str
    """Digest of settings, pairs and reference: state of another job is not taken up."""
    metrics_bytes: int
    """Size of metrics.jsonl at this step."""
    delta: dict[str, Any]
    """State of δ."""
    universal: bool = False
    """Its state is stored by parameter and not by rank, so that any number of ranks can go on from it."""

    @property
    def tag(self) -> str:
        """Name of its folder."""
        return f"step-{self.steps_done:06d}" + ("-universal" if self.universal else "")

    def fits(self, settings: TrainConfig) -> bool:
        """True if ranks laid out like this can load it as it is."""
        if self.universal:
            return True
        same_ranks = (
            self.world_size == settings.world_size or self.zero_stage == 0
        )  # where nothing is sharded
        return same_ranks and self.zero_stage == settings.zero_stage


def mark_complete(state_dir: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Makes a fully written folder count, then removes all but the ``keep`` newest."""
    marker = state_dir / checkpoint.tag / _MARKER
    temporary = marker.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(checkpoint)), encoding="utf-8")
    temporary.replace(marker)
    kept = {found.tag for found in _complete(state_dir)[-keep:]}
    for folder in state_dir.iterdir():
        if folder.is_dir() and folder.name not in kept:
            shutil.rmtree(folder)


def latest(state_dir: Path) -> Checkpoint | None:
    """The newest complete checkpoint, if there is one."""
    return next(reversed(_complete(state_dir)), None)


def find_resumable(job: TrainingJob) -> Checkpoint | None:
    """Returns the checkpoint to go on from, if there is one; it may have to be laid out anew first.

    Raises:
        ConfigError: it was written at a ZeRO stage whose state is of another kind.
    """
    found, stage = latest(job.state_dir), job.settings.zero_stage
    if found is not None and found.zero_stage != stage and not {found.zero_stage, stage} <= {1, 2}:
        raise ConfigError(
            f"{job.state_dir / found.tag} was written at ZeRO stage {found.zero_stage}, and training cannot go on "
            f"from it at stage {stage}: set zero_stage back to {found.zero_stage}, or delete {job.state_dir} to "
            "train from the start"
        )
    return found


def cut_metrics(job: TrainingJob, found: Checkpoint | None) -> None:
    """Cuts metrics.jsonl back to the checkpoint that training goes on from, so that no step is doubled."""
    truncate(job.metrics_path, found.metrics_bytes if found else 0)


def refuse_foreign(found: Checkpoint, fingerprint: str, state_dir: Path) -> None:
    """Raises ConfigError if ``found`` belongs to other settings, pairs or reference log-probs."""
    if found.fingerprint != fingerprint:
        raise ConfigError(
            f"{state_dir / found.tag} was written for other settings, pairs or reference log-probs: "
            f"give this job a scratch folder of its own, or delete {state_dir} to train from the start"
        )


def _complete(state_dir: Path) -> list[Checkpoint]:
    markers = sorted(state_dir.glob(f"step-*/{_MARKER}"))
    found = [Checkpoint(**json.loads(marker.read_text(encoding="utf-8"))) for marker in markers]
    return sorted(found, key=lambda checkpoint: (checkpoint.steps_done, checkpoint.universal))


_POLL_SECONDS = 0.5
_MOST_WORKERS = 4


def make_universal(job: TrainingJob, found: Checkpoint, *, log_path: Path) -> Checkpoint:
    """Returns ``found`` in a form that any number of ranks can load; it takes the place of the other.

    Needs the room of a second checkpoint (12 bytes a parameter) while it works. Goes through DeepSpeed's own tool.

    Raises:
        EngineError: the tool failed; with the end of its log. The checkpoint stays as it was.
    """
    settings = job.settings
    log.info(
        "the checkpoint of step %d is of %d ranks at ZeRO stage %d: it is laid out anew for %d at stage %d",
        found.steps_done,
        found.world_size,
        found.zero_stage,
        settings.world_size,
        settings.zero_stage,
    )
    universal = replace(found, universal=True)
    target = job.state_dir / universal.tag
    if target.exists():  # from an attempt that was ended
        shutil.rmtree(target)
    tool = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    folders = ["--input_folder", str(job.state_dir / found.tag), "--output_folder", str(target)]
    workers = min(
        _MOST_WORKERS, max(1, cores() // 4)
    )  # more than one are processes that each import DeepSpeed
    speed = ["--num_extract_workers", str(workers), "--num_merge_workers", str(workers)]
    command = [*tool, *folders, *speed]
    accelerator = {"DS_ACCELERATOR": "cpu"}
    with SupervisedProcess(command, name="relayout", log_path=log_path, env=accelerator) as process:
        while (status := process.poll()) is None:
            time.sleep(_POLL_SECONDS)
        if status != 0:
            folder = job.state_dir / found.tag
            what = f"the checkpoint {folder} could not be laid out for {settings.world_size} ranks"
            then = f"Go on with nodes × ranks = {found.world_size} and zero_stage = {found.zero_stage}."
            raise EngineError(process.account(what, TRAINING, then=then))
    mark_complete(job.state_dir, universal, settings.keep_checkpoints)
    return universal
