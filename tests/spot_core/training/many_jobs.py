"""Several training jobs in one start of torchrun: ``python -m tests.spot_core.training.many_jobs JOB.json…``

Starting ranks and importing DeepSpeed takes longer than training a tiny model. Each job is done by the stage's own
`Trainer`, one after the other, in the process group of the first.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch.distributed as dist

from spot_core.errors import SpotError
from spot_core.training.job import TrainingJob

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 240


def run_together(jobs: Sequence[TrainingJob], ranks: int, log_path: Path) -> None:
    """Trains every job on ``ranks`` ranks; one that is refused leaves the reason in its ``error_path``."""
    for job in jobs:
        assert job.settings.ranks == ranks
        for folder in (job.output_dir, job.scratch_dir):
            folder.mkdir(parents=True)
        job.job_path.write_text(job.model_dump_json(), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command = [*torchrun, "-m", "tests.spot_core.training.many_jobs", *(str(job.job_path) for job in jobs)]
    environment = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONWARNINGS": "ignore::FutureWarning"}
    with log_path.open("wb") as log:
        status = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS,
            check=False,
        ).returncode
    assert status == 0, log_path.read_text()[-4000:]


def main(paths: list[str]) -> None:
    from spot_core.training.device import join
    from spot_core.training.pairs import read_reference
    from spot_core.training.trainer import Trainer
    from spot_core.training.worker import usable_pairs

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    jobs = [TrainingJob.model_validate_json(Path(path).read_text(encoding="utf-8")) for path in paths]
    place = join(jobs[0])
    for job in jobs:
        pairs = usable_pairs(job, place)
        trainer = Trainer(job, pairs, read_reference(job.reference, pairs), place)
        try:
            trainer.train()
        except SpotError as error:
            job.error_path.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        trainer.engine.destroy()  # its hooks and buffers
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
