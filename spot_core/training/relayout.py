"""Takes a checkpoint to another number of ranks: DeepSpeed's universal format, one file per parameter."""

import logging
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

from spot_core.devices import cores
from spot_core.errors import EngineError
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.checkpoints import Checkpoint, mark_complete
from spot_core.training.job import TrainingJob
from spot_core.training.symptoms import TRAINING

_POLL_SECONDS = 0.5
_MOST_WORKERS = 4

log = logging.getLogger(__name__)


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
