"""A folder with a model, pairs and their reference log-probs, and the training jobs on them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor

from spot_core.config.train import TrainConfig
from spot_core.store.schemas import REFERENCE
from spot_core.training.job import LineTail, TrainingJob
from spot_core.training.launch import launch
from spot_core.training.pairs import Pair
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.plain import padded_logprobs
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_pairs import write_pairs

PAIRS = 41  # 6 steps an epoch, the last one of a single pair
SETTINGS = TrainConfig(
    objective="spot_bco",
    beta=0.5,
    learning_rate=1e-4,
    batch_size=8,
    epochs=10,
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=4,
    row_tokens=64,
    micro_batch_tokens=128,  # several micro-batches a step
    context_length=30,
    ranks=2,
)
STEPS = 60
TOO_LONG = Pair("z", 0, np.full(20, 3, np.int32), np.full(11, 4, np.int32), np.full(2, 5, np.int32))


class Stage:
    """Model, pairs and reference in one folder; every job has folders of its own beside them."""

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[Pair] = (*random_pairs(PAIRS), TOO_LONG),
        settings: TrainConfig = SETTINGS,
        **geometry: object,
    ) -> None:
        self.folder, self.settings = folder, settings
        folder.mkdir(exist_ok=True)
        self.model = folder / "model"
        tiny_model("qwen3", torch.float32, **geometry).save_pretrained(self.model)
        (self.model / "chat_template.jinja").write_text("{{ messages }}")
        self.pairs = write_pairs(folder / "pairs.parquet", list(pairs))
        self.reference = folder / "reference" / "reference.parquet"

    def job(self, name: str, mode: str = "train", **settings: Any) -> TrainingJob:
        return TrainingJob(
            mode=mode,
            model_path=self.model,
            pairs=(self.pairs,),
            reference=(self.reference,) if mode == "train" else None,
            settings=self.settings.model_copy(update=settings),
            output_dir=self.folder / name,
            scratch_dir=self.folder / f"{name}-scratch",
            backend="gloo",
        )

    def train(self, name: str, **settings: Any) -> list[dict[str, Any]]:
        """Launches a job and returns its rows of metrics."""
        rows: list[dict[str, Any]] = []
        launch(self.job(name, **settings), log_path=self.folder / f"{name}.log", on_metrics=rows.append)
        return rows

    def metrics(self, job: TrainingJob) -> list[dict[str, Any]]:
        return LineTail(job.metrics_path).new_rows()

    def weights(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / name / "checkpoint" / "model.safetensors")

    def write_reference(self, pairs: Sequence[Pair]) -> None:
        """Writes the log-probs of padded sequences in float64 as the reference of ``pairs``."""
        with torch.no_grad():
            logprobs = padded_logprobs(tiny_model("qwen3"), pairs).tolist()
        rows = [
            {
                "question_id": pair.question_id,
                "sample": pair.sample,
                "chosen_logprob": chosen,
                "rejected_logprob": rejected,
                "chosen_tokens": len(pair.chosen),
                "rejected_tokens": len(pair.rejected),
            }
            for pair, (chosen, rejected) in zip(pairs, logprobs, strict=True)
        ]
        self.reference.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema=REFERENCE), self.reference)


def timeless(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of metrics without what differs between two runs on one machine, as text, so that equal is bitwise."""
    return [json.dumps({k: v for k, v in row.items() if k != "tokens_per_second"}) for row in rows]


def living_ranks(job: TrainingJob) -> list[psutil.Process]:
    """The training ranks of ``job``, in order."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = process.info["cmdline"] or []
        if str(job.job_path) in command and "RANK" in (process.info["environ"] or {}):
            found.append(process)
    return sorted(found, key=lambda process: int(process.info["environ"]["RANK"]))
