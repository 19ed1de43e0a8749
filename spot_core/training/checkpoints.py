"""Resumable checkpoints on disk: which are complete, whether one fits the job, and what is thrown away.

DeepSpeed writes the state of a step into a folder of its own; the marker is renamed into it last. A folder
without a marker does not count. No torch here: `launch` looks before it starts anything.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spot_core.errors import ConfigError
from spot_core.training.job import TrainingJob
from spot_core.training.reporting import truncate

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

    @property
    def tag(self) -> str:
        """Name of its folder."""
        return f"step-{self.steps_done:06d}"


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


def find_resumable(job: TrainingJob, world_size: int) -> Checkpoint | None:
    """Returns the checkpoint to go on from, if there is one.

    Raises:
        ConfigError: it was written by other ranks or another ZeRO stage, whose shards would not fit.
    """
    found = latest(job.state_dir)
    if found is not None:
        here = (world_size, job.settings.zero_stage)
        if here != (found.world_size, found.zero_stage):
            raise ConfigError(
                f"{job.state_dir / found.tag} was written by {found.world_size} ranks at ZeRO stage "
                f"{found.zero_stage}, and cannot go on with {here[0]} at stage {here[1]}: set zero_stage back, and "
                f"nodes and ranks so that nodes × ranks = {found.world_size}, or delete {job.state_dir} to train from the start"
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
    return sorted(found, key=lambda checkpoint: checkpoint.steps_done)
