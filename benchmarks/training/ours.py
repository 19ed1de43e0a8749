"""Our side: reference log-probs, then training, in the ranks of torchrun. Arguments: JOB.json REPORT.json"""

import json
import sys
import time
from pathlib import Path

import torch.distributed as dist

from spot_core.training.device import join
from spot_core.training.job import LineTail, TrainingJob
from spot_core.training.pairs import read_reference
from spot_core.training.prefixes import PrefixIndex
from spot_core.training.reference import compute_reference
from spot_core.training.trainer import Trainer
from spot_core.training.worker import usable_pairs


def main(job_path: str, report_path: str) -> None:
    job = TrainingJob.model_validate_json(Path(job_path).read_text())
    assert job.reference is not None
    place = join(job)
    pairs = usable_pairs(job, place)
    dist.barrier()

    start, cpu = time.perf_counter(), time.process_time()
    compute_reference(job.model_copy(update={"mode": "reference", "reference": None}), pairs, place)
    dist.barrier()
    referenced = time.perf_counter()
    trainer = Trainer(job, pairs, read_reference(job.reference, pairs), place)
    trainer.train()
    end = time.perf_counter()

    if place.is_first:
        prefixes = PrefixIndex(pairs)
        rows = [
            row for step in trainer.plan for rank in step.micro_batches for batch in rank for row in batch
        ]
        alone = sum(pairs[index].tokens for step in trainer.plan for index in step.pairs)
        report = {
            "reference_seconds": referenced - start,
            "train_seconds": end - referenced,
            "cpu_seconds": time.process_time() - cpu,
            "losses": [row["loss"] for row in LineTail(job.metrics_path).new_rows()],
            "tokens_saved": 1 - sum(prefixes.trie_tokens(row) for row in rows) / alone,
            "order": [pairs[index].key for step in trainer.plan for index in step.pairs],
        }
        Path(report_path).write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
