"""Every combination of ZeRO stage, precision, offload, LoRA and checkpointing trains, or is refused before it starts."""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training.job import TrainingJob
from spot_core.training.preflight import check_offload
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.stage import Stage
from tests.spot_core.training.synthetic import random_pairs

PAIRS = random_pairs(6)
STEPS = 2
SETTINGS = TrainConfig(
    objective="dpo",
    beta=0.5,
    learning_rate=1e-3,
    batch_size=3,
    epochs=1,
    save_dtype="fp32",
    checkpoint_every_steps=0,
    row_tokens=64,
    micro_batch_tokens=64,
    context_length=40,
    ranks=1,
)
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}


class Combination(NamedTuple):
    zero_stage: int
    precision: str
    cpu_offload: bool
    lora: bool
    gradient_checkpointing: str

    def settings(self, **others: Any) -> TrainConfig:
        chosen = self._asdict() | {"lora": {"rank": 4, "alpha": 8} if self.lora else None}
        return TrainConfig.model_validate(SETTINGS.model_dump() | chosen | others)


TABLE = [
    Combination(*values)
    for values in itertools.product(
        (0, 1, 2, 3), ("bf16", "fp32"), (False, True), (False, True), ("none", "selective", "full")
    )
]
ACCEPTED = [one for one in TABLE if one.zero_stage > 0 or (one.precision == "fp32" and not one.cpu_offload)]
# With these every two values of two settings meet, where they may.
REPRESENTATIVE = [
    Combination(0, "fp32", False, False, "none"),
    Combination(0, "fp32", False, True, "selective"),
    Combination(1, "bf16", True, True, "full"),
    Combination(1, "fp32", False, False, "selective"),
    Combination(2, "bf16", True, False, "selective"),
    Combination(2, "fp32", False, True, "none"),
    Combination(3, "bf16", False, True, "none"),
    Combination(3, "bf16", False, False, "full"),
    Combination(3, "fp32", True, False, "none"),
    Combination(3, "fp32", False, True, "selective"),
]


@pytest.mark.parametrize("combination", TABLE, ids=str)
def test_a_combination_is_refused_with_a_remedy_or_may_train(combination: Combination) -> None:
    """A remedy is a value of a field that the message names; taken, it leads to a combination that is accepted."""
    if combination not in ACCEPTED:
        with pytest.raises(ValidationError) as error:
            combination.settings()
        said = str(error.value)
        assert "zero_stage = 0" in said and "Set zero_stage to 1" in said
        assert ("precision = 'bf16'" if combination.precision == "bf16" else "cpu_offload = True") in said
        combination._replace(zero_stage=1).settings()
        return
    settings = combination.settings()
    check_offload(settings, on_gpu=True)
    if combination.cpu_offload:
        with pytest.raises(ConfigError, match=r"cpu_offload = True.*Set cpu_offload to false"):
            check_offload(settings, on_gpu=False)
        settings = combination._replace(cpu_offload=False).settings()
    check_offload(settings, on_gpu=False)


def check_training(
    combinations: Iterable[Combination], ranks: Iterable[int], folder: Path, timeout_seconds: float = 300
) -> None:
    """Trains each, small parameters sharded too, and compares those that should have the same figures.

    These ranks do not ask for a GPU where there is `cpu_offload`: DeepSpeed's code for it runs on the CPU all the same.
    """
    stage = Stage(folder / "stage", PAIRS, SETTINGS)
    references: dict[tuple[str, int], TrainingJob] = {}
    for precision, zero_stage in itertools.product(("bf16", "fp32"), (2, 3)):
        name, settings = f"{precision}-{zero_stage}", {"precision": precision, "zero_stage": zero_stage}
        references[precision, zero_stage] = stage.job(name, "reference", **settings)
    jobs: dict[tuple[Combination, int], TrainingJob] = {}
    for one, count in itertools.product(combinations, ranks):
        job = stage.job(f"{'-'.join(map(str, one))}-{count}", **dict(one.settings(ranks=count)))
        reference = references[one.precision, 2].output_dir / "reference.parquet"
        jobs[one, count] = job.model_copy(update={"reference": (reference,)})
    run_together(
        [*references.values(), *jobs.values()],
        folder / "jobs.log",
        shard_everything=True,
        timeout_seconds=timeout_seconds,
    )
    for precision in ("bf16", "fp32"):
        whole, sharded = (
            pq.read_table(references[precision, zero_stage].output_dir / "reference.parquet")
            for zero_stage in (2, 3)
        )
        assert sharded.equals(whole), f"{precision}: weights or buffers of the sharded model are others"
    first: dict[tuple[str, bool], list[dict[str, float]]] = {}
    for (one, _), job in jobs.items():
        rows = stage.metrics(job)
        assert len(rows) == STEPS, one
        expected = first.setdefault((one.precision, one.lora), rows)
        for row, of_first in zip(rows, expected, strict=True):
            for name in ("loss", "grad_norm"):
                assert math.isfinite(row[name]), (one, row)
                assert row[name] == pytest.approx(of_first[name], rel=TOLERANCE[one.precision]), one
        assert (job.output_dir / "checkpoint" / "model.safetensors").exists(), one


@pytest.mark.engine
def test_representative_combinations_train(tmp_path: Path) -> None:
    check_training(REPRESENTATIVE, [2], tmp_path)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_accepted_combination_trains(ranks: int, tmp_path: Path) -> None:
    check_training(ACCEPTED, [ranks], tmp_path, timeout_seconds=3000)
