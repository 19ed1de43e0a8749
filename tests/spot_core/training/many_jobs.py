"""Many jobs in one process that forks their ranks: ``python -m tests.spot_core.training.many_jobs JOB.json…``

``JOB.json=FAULT``: with a fault planted in the code, see `tests.spot_core.training.faults`.

Importing DeepSpeed in every rank takes longer than training a tiny model. Each job is done by the stage's own
`Trainer` in a real process group; what `launch` and torchrun add is tested in `test_engine` and `test_kill`.
A job that makes checkpoints is interrupted once, and taken up by another `Trainer`.
"""

import gc
import importlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any

from spot_core.errors import SpotError
from spot_core.processes.supervised import free_port
from spot_core.training.job import TrainingJob
from tests.spot_core.training.faults import FAULTS

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 300
SHARD_EVERYTHING = "--shard-everything"
_KEPT_WHOLE = (
    "stage3_param_persistence_threshold",
    "stage3_max_reuse_distance",
    "stage3_max_live_parameters",
)
"""Settings of DeepSpeed, in elements: what stays whole on every rank, because it is small or soon used again."""
INTERRUPTED_AFTER = 10
"""Steps that are done, and reported, when a job is interrupted."""


_FEW_BYTES = 2**20
"""Of constants that DeepSpeed makes once, and of the buffers of tiny models."""


class InterruptedRun(Exception):  # noqa: N818
    """Ends a first attempt."""


def run_together(
    jobs: Sequence[TrainingJob],
    log_path: Path,
    *,
    faults: Sequence[str | None] = (),
    shard_everything: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Does every job on its number of ranks, in order; one that is refused leaves the reason in its ``error_path``.

    Args:
        faults: of each job: the one that is planted while it is done.
        shard_everything: at ZeRO stage 3 keep no parameter whole on every rank, however small.
    """
    for job in jobs:
        for folder in (job.output_dir, job.scratch_dir):
            folder.mkdir(parents=True, exist_ok=True)
        job.job_path.write_text(job.model_dump_json(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "tests.spot_core.training.many_jobs",
        *([SHARD_EVERYTHING] if shard_everything else []),
        *(
            f"{job.job_path}={fault}" if fault else str(job.job_path)
            for job, fault in zip_longest(jobs, faults)
        ),
    ]
    environment = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONWARNINGS": "ignore::FutureWarning"}
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the ranks too, which wait for one another
            raise
    assert status == 0, log_path.read_text()[-4000:]


def _do_all(jobs: Sequence[tuple[TrainingJob, str]], rank: int, port: int, shard_everything: bool) -> None:
    """One rank's part of ``jobs``, each with its fault or "", which all have the same number of ranks."""
    if shard_everything:
        _shard_everything()
    import torch.distributed as dist

    from spot_core.training.device import join
    from spot_core.training.pairs import read_reference
    from spot_core.training.reference import compute_reference
    from spot_core.training.trainer import Trainer
    from spot_core.training.worker import usable_pairs

    first = jobs[0][0]
    ranks = first.settings.ranks
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    place = join(first)

    class FirstAttempt(Trainer):
        def _report(self, index: int, *figures: Any) -> int:
            size = super()._report(index, *figures)
            if index + 1 == INTERRUPTED_AFTER:
                raise InterruptedRun
            return size

    def do(job: TrainingJob) -> None:
        pairs = usable_pairs(job, place)
        if job.mode == "reference":
            compute_reference(job, pairs, place)
            dist.barrier()  # rank 0 has written what the others may read
            return
        reference = read_reference(job.reference, pairs)
        for attempt in (FirstAttempt, Trainer) if job.settings.checkpoint_every_steps else (Trainer,):
            trainer = attempt(job, pairs, reference, place)
            if shard_everything and job.settings.zero_stage == 3:
                weights = list(trainer.engine.module.parameters())
                assert weights and not any(weight.ds_persist or weight.numel() for weight in weights)
            try:
                trainer.train()
            except InterruptedRun:
                dist.barrier()  # rank 0 has written what it saw
            finally:
                trainer.close()

    for job, fault in jobs:
        try:
            with (
                FAULTS[fault]() if fault else nullcontext(),
                _memory_is_given_back() if shard_everything else nullcontext(),
            ):
                do(job)
        except SpotError as error:
            said = {"kind": type(error).__name__, "message": str(error)}
            job.error_path.write_text(json.dumps(said), encoding="utf-8")
    dist.destroy_process_group()


@contextmanager
def _memory_is_given_back() -> Iterator[None]:
    """Checks that nothing of a training is alive when its checkpoint is loaded: DeepSpeed keeps what it has in globals."""
    from spot_core.geometry import build_empty
    from spot_core.training.device import load_config
    from spot_core.training.trainer import Trainer
    from spot_core.training.weights import whole_shape

    check_checkpoint, before = Trainer._check_checkpoint, living_bytes()

    def check_memory(trainer: Trainer, *arguments: Any) -> None:
        weights = sum(
            whole_shape(weight).numel() for weight in build_empty(load_config(trainer.job)).parameters()
        )
        left = living_bytes() - before
        assert left < weights / 10 + _FEW_BYTES, (
            f"{left} bytes of tensors are left of a training of {weights} weights"
        )
        check_checkpoint(trainer, *arguments)

    Trainer._check_checkpoint = check_memory
    try:
        yield
    finally:
        Trainer._check_checkpoint = check_checkpoint


def living_bytes() -> int:
    """Bytes of all tensors that are still referred to, each storage once."""
    import torch

    sizes: dict[int, int] = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type != "meta":
            storage = thing.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def _shard_everything() -> None:
    """Makes ZeRO stage 3 shard every parameter, and gather it for each use, however small the model is."""
    from spot_core.training import zero

    configure = zero.engine_config

    def configured(*arguments: Any) -> dict[str, Any]:
        config = configure(*arguments)
        config["zero_optimization"] |= dict.fromkeys(_KEPT_WHOLE, 0)
        return config

    zero.engine_config = configured


def main(paths: list[str]) -> int:
    # Before the fork, once for all ranks; the second is what DeepSpeed imports when first used.
    for module in (
        "spot_core.training.trainer",
        "torch._inductor.compile_fx",
        "transformers.models.qwen3.modeling_qwen3",
    ):
        importlib.import_module(module)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    shard_everything = paths[0] == SHARD_EVERYTHING
    paths = paths[shard_everything:]
    jobs = []
    for path, _, fault in (argument.partition("=") for argument in paths):
        jobs.append((TrainingJob.model_validate_json(Path(path).read_text(encoding="utf-8")), fault))
    for ranks in sorted({job.settings.ranks for job, _ in jobs}):
        group = [(job, fault) for job, fault in jobs if job.settings.ranks == ranks]
        port, fork = free_port(), multiprocessing.get_context("fork")
        processes = [
            fork.Process(target=_do_all, args=(group, rank, port, shard_everything)) for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
