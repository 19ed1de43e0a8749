"""ZeRO-3 with weights that are really sharded, and a real vocabulary: as ZeRO-2, whatever each rank has to compute."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from spot_core.config.train import LoraConfig, TrainConfig
from spot_core.training.job import TrainingJob
from spot_core.training.logprobs import DEFAULT_BUDGET
from spot_core.training.pairs import Pair
from spot_core.training.plan import MicroBatch, RowBudget, plan_training
from spot_core.training.prefixes import PrefixIndex
from spot_core.training.rows import collate
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.stage import Stage

pytestmark = pytest.mark.engine

VOCABULARY = 151_936  # Qwen3's
GEOMETRY = {"vocab_size": VOCABULARY, "initializer_range": 0.05}
SETTINGS = TrainConfig(
    objective="spot_bco",
    beta=0.5,
    learning_rate=1e-3,
    batch_size=5,
    epochs=1,
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=0,
    context_length=512,
    row_tokens=16,  # every pair in a micro-batch of its own
    micro_batch_tokens=16,
    ranks=1,
)
LORA = {"lora": LoraConfig(rank=4, alpha=8)}
CASES = {
    "tied": {"tied": True},
    "untied": {"tied": False},
    "tied, LoRA": {"tied": True, **LORA},
    "untied, LoRA": {"tied": False, **LORA},
}


def uneven_pairs(count: int) -> list[Pair]:
    """Pairs of a few tokens each; every fourth has so many that its logits need several chunks."""
    rng = np.random.default_rng(0)

    def ids(tokens: int) -> np.ndarray:
        return rng.integers(0, VOCABULARY, tokens).astype(np.int32)

    pairs = []
    for index in range(count):
        tokens = 60 if index % 4 == 0 else 6
        rejected = ids(tokens)
        pairs.append(Pair(f"q{index:02d}", 0, ids(5), rejected, np.concatenate([rejected[:3], ids(tokens)])))
    return pairs


PAIRS = uneven_pairs(10)
STEPS = 2


class Runs:
    """Reference passes and training at ZeRO-2 and ZeRO-3, done."""

    def __init__(
        self, folder: Path, ranks: Sequence[int], cases: Sequence[str], timeout_seconds: float = 300
    ) -> None:
        self.jobs: dict[tuple[Any, ...], TrainingJob] = {}
        self.stages: dict[bool, Stage] = {}
        for case in cases:
            settings = dict(CASES[case])
            tied = bool(settings.pop("tied"))
            if tied not in self.stages:
                self._add_stage(folder, tied, ranks)
            for count in ranks:
                for zero_stage in (2, 3):
                    name, layout = f"{case}-{count}-{zero_stage}", {"ranks": count, "zero_stage": zero_stage}
                    self.jobs[case, count, zero_stage] = self.stages[tied].job(name, **layout, **settings)
        log_path = folder / "jobs.log"
        run_together(
            list(self.jobs.values()), log_path, shard_everything=True, timeout_seconds=timeout_seconds
        )

    def _add_stage(self, folder: Path, tied: bool, ranks: Sequence[int]) -> None:
        stage = Stage(folder / f"tied-{tied}", PAIRS, SETTINGS, tie_word_embeddings=tied, **GEOMETRY)
        self.stages[tied] = stage
        self.jobs["reference", tied, 1] = stage.job("reference", "reference", zero_stage=2)
        for count in ranks:
            job = stage.job(f"reference-{count}", "reference", zero_stage=3, ranks=count)
            self.jobs["reference", tied, count] = job

    def rows(self, *key: Any) -> list[dict[str, Any]]:
        return self.stages[True].metrics(self.jobs[key])

    def reference(self, *key: Any) -> list[float]:
        table = pq.read_table(self.jobs["reference", *key].output_dir / "reference.parquet")
        return table["chosen_logprob"].to_pylist() + table["rejected_logprob"].to_pylist()

    def check(self, ranks: int, case: str) -> None:
        found, expected = self.rows(case, ranks, 3), self.rows(case, ranks, 2)
        assert len(found) == len(expected) == STEPS
        for name in ("loss", "grad_norm"):
            assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], rel=1e-5)
        tied = CASES[case]["tied"]
        start = load_file(self.stages[tied].model / "model.safetensors")
        sharded, whole = (
            load_file(self.jobs[case, ranks, stage].output_dir / "checkpoint" / "model.safetensors")
            for stage in (3, 2)
        )
        assert sharded.keys() == whole.keys()
        for name, weight in whole.items():
            learned = (weight - start[name]).norm()
            assert (sharded[name] - weight).norm() <= 1e-3 * learned, name
        assert self.reference(tied, ranks) == pytest.approx(self.reference(tied, 1), rel=1e-6)


def chunks(micro_batch: MicroBatch) -> int:
    """How many chunks of logits a rank makes of it."""
    return math.ceil(len(collate(PAIRS, micro_batch).edge_token) / DEFAULT_BUDGET.rows(VOCABULARY))


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_have_different_numbers_of_chunks_and_some_have_none(ranks: int) -> None:
    """What the others here stand on."""
    budget = RowBudget.of(SETTINGS, on_gpu=False)
    plan = plan_training(
        PrefixIndex(PAIRS), epochs=1, batch_size=SETTINGS.batch_size, seed=0, world_size=ranks, budget=budget
    )
    assert len(plan) == STEPS
    steps = [[[chunks(batch) for batch in of_rank] for of_rank in step.micro_batches] for step in plan]
    assert all(any(0 in of_rank for of_rank in step) for step in steps), steps
    together = [batches for step in steps for batches in zip(*step, strict=True)]
    assert any(max(batches) > 1 and min(batches) <= 1 for batches in together), steps


def test_sharded_weights_train_as_whole_ones(tmp_path: Path) -> None:
    Runs(tmp_path, [2], ["tied"]).check(2, "tied")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("zero"), [2, 4], list(CASES), timeout_seconds=1500)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ranks", [2, 4])
def test_every_kind_of_model_trains_sharded_as_whole(ranks: int, case: str, runs: Runs) -> None:
    runs.check(ranks, case)
