"""The other side: TRL's `DPOTrainer` on the same pairs in the same order. Arguments: SPEC.json REPORT.json"""

import json
import sys
import time
from pathlib import Path

import torch
from datasets import load_from_disk
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from spot_core.config.train import TrainConfig


class SamePairs(DPOTrainer):
    """DPOTrainer on token ids that are there already, in the order given."""

    def _prepare_dataset(self, dataset, *_args, **_kwargs):
        return dataset

    def _get_train_sampler(self, *_args, **_kwargs):
        return SequentialSampler(self.train_dataset)


def main(spec_path: str, report_path: str) -> None:
    spec = json.loads(Path(spec_path).read_text())
    settings = TrainConfig(**spec["train"])
    batch, world_size = spec["batch"], spec["ranks"]
    assert settings.batch_size % (batch * world_size) == 0

    start, cpu = time.perf_counter(), time.process_time()
    model = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=torch.float32, attn_implementation="sdpa"
    )
    trainer = SamePairs(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(spec["model"]),
        train_dataset=load_from_disk(spec["dataset"]),
        args=DPOConfig(
            output_dir=spec["output"],
            loss_type=["bco_pair"],
            beta=settings.beta,
            precompute_ref_log_probs=True,
            precompute_ref_batch_size=batch,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=settings.batch_size // (batch * world_size),
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant",
            adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1],
            weight_decay=0.0,
            max_grad_norm=settings.max_grad_norm,
            max_length=None,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            optim="adamw_torch_fused",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    referenced = time.perf_counter()
    trainer.train()
    end = time.perf_counter()
    if trainer.is_world_process_zero():
        report = {
            "reference_seconds": referenced - start,
            "train_seconds": end - referenced,
            "cpu_seconds": time.process_time() - cpu,
            "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        }
        Path(report_path).write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
