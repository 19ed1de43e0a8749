"""One training rank: ``python -m spot_core.training.worker JOB.json`` under torchrun."""

import contextlib
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch.distributed as dist

from spot_core.errors import InputError, SpotError
from spot_core.training.device import Place, describe, join, load_config
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import (
    Pair,
    read_pairs,
    read_reference,
    refuse_foreign_tokens,
    split_by_context,
)
from spot_core.training.preflight import check_offload

DROPPED = pa.schema([("question_id", pa.string()), ("sample", pa.int32()), ("reason", pa.string())])

log = logging.getLogger(__name__)


def usable_pairs(job: TrainingJob, place: Place) -> list[Pair]:
    """The pairs of the job that fit its context; rank 0 writes the others to ``output_dir/dropped.parquet``."""
    kept, dropped = split_by_context(read_pairs(job.pairs), job.settings.context_length)
    if not kept:
        raise InputError(
            f"none of {len(dropped)} pairs is left: all are longer than context_length = "
            f"{job.settings.context_length} tokens, or there were none"
        )
    refuse_foreign_tokens(kept, load_config(job).get_text_config().vocab_size)
    if place.is_first:
        rows = [asdict(pair) for pair in dropped]
        pq.write_table(pa.Table.from_pylist(rows, schema=DROPPED), job.output_dir / "dropped.parquet")
    return kept


def run(job: TrainingJob) -> None:
    """Does this rank's part of ``job``."""
    place = join(job)
    check_offload(job.settings, on_gpu=place.on_gpu)
    log.info("%s: %s", job.mode, describe(job.settings, place))
    pairs = usable_pairs(job, place)
    if job.mode == "reference":
        from spot_core.training.reference import compute_reference  # noqa: PLC0415

        compute_reference(job, pairs, place)
    else:
        # Only training pays for DeepSpeed's import.
        from spot_core.training.trainer import Trainer  # noqa: PLC0415

        assert job.reference is not None
        Trainer(job, pairs, read_reference(job.reference, pairs), place).train()
    dist.destroy_process_group()


def main(argv: list[str]) -> int:
    """Exit status 0, or 1 after an error that `launch` can read in the job's error file."""
    assert len(argv) == 1, "usage: python -m spot_core.training.worker JOB.json"
    job = TrainingJob.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        run(job)
    except SpotError as error:
        # All ranks may fail at once with the same words: the first one writes them down.
        with contextlib.suppress(FileExistsError), job.error_path.open("x", encoding="utf-8") as file:
            json.dump({"kind": type(error).__name__, "message": str(error)}, file)
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
