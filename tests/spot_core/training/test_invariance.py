"""Every layout of the work trains alike, and as a plain float64 loop over padded sequences does.

Real DeepSpeed in 1, 2 and 4 ranks on gloo.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.training.job import TrainingJob
from spot_core.training.plan import RowBudget, learning_rate, plan_training
from spot_core.training.prefixes import PrefixIndex
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.plain import Float64, plain_training
from tests.spot_core.training.stage import Stage, timeless
from tests.spot_core.training.synthetic import random_pairs

pytestmark = pytest.mark.engine

# 5 steps an epoch; the last one has a single pair, so most ranks have none.
PAIRS = random_pairs(33, shared_prompt=4)
SETTINGS = TrainConfig(
    objective="spot_bco",
    beta=0.5,
    learning_rate=1e-3,
    batch_size=8,
    epochs=4,
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=0,
    context_length=40,
    ranks=1,
)
STEPS = 20
PACKED = {"row_tokens": 256, "micro_batch_tokens": 4096}  # a rank's share in one row
MERGED = {"row_tokens": 64, "micro_batch_tokens": 128}  # a few merged rows in each of a few micro-batches
ALONE = {"row_tokens": 16, "micro_batch_tokens": 16}  # every pair alone, in a micro-batch of its own
PLAIN = {"rows": "plain", "micro_batch_tokens": 128}  # every sequence alone, padded
PACKINGS = {"packed": PACKED, "merged": MERGED, "alone": ALONE, "plain": PLAIN}

# Stages vary at one packing, packings at one stage.
LAYOUTS: dict[str, dict[str, Any]] = {
    f"{ranks} ranks, ZeRO-{stage}, {name}": {"ranks": ranks, "zero_stage": stage, **packing}
    for ranks in (1, 2, 4)
    for stage in (0, 1, 2, 3)
    for name, packing in PACKINGS.items()
    if name == "merged" or (stage == 2 and ranks < 4)
}
LAYOUTS |= {
    f"1 ranks, checkpointing {kind}": {"ranks": 1, "gradient_checkpointing": kind, **MERGED}
    for kind in ("none", "selective")
}
RESUMED: dict[str, dict[str, Any]] = {
    f"resumed, ZeRO-{stage}": {"ranks": 2, "zero_stage": stage, "checkpoint_every_steps": 4, **MERGED}
    for stage in (0, 1, 2, 3)
}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "spot_bce": {"objective": "spot_bce"},
    "spot_bco, moving average": {"delta": "ema", "ema_decay": 0.8},
    "dpo": {"objective": "dpo"},
    "reward_sft": {"objective": "reward_sft"},
    "sft over sequences": {"objective": "sft"},
    "sft over tokens": {"objective": "sft", "sft_mean": "tokens"},
}
BROKEN = "weights that are no numbers"
CURVES = ("loss", "grad_norm", "reward_chosen", "reward_rejected", "margin", "kl")


def _broken_model(folder: Path) -> Path:
    model = tiny_model("qwen3", torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = torch.nan
    model.save_pretrained(folder)
    return folder


class Runs:
    """All jobs of this module, done."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder, PAIRS, SETTINGS)
        self.stage.write_reference(PAIRS)
        self.jobs: dict[str, TrainingJob] = {}
        self._add(LAYOUTS)
        self._add(RESUMED)
        self._add({name: {"ranks": 2, **MERGED, **changes} for name, changes in OBJECTIVES.items()})
        self.jobs[BROKEN] = self.stage.job(BROKEN, ranks=2).model_copy(
            update={"model_path": _broken_model(folder / "broken-model")}
        )
        self.log_path = folder / "jobs.log"
        run_together(list(self.jobs.values()), self.log_path, shard_everything=True)

    def _add(self, variants: dict[str, dict[str, Any]]) -> None:
        self.jobs |= {name: self.stage.job(name, **changes) for name, changes in variants.items()}

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.stage.metrics(self.jobs[name])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("invariance"))


def plain_run(settings: TrainConfig) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Rows and weights of the plain loop."""
    plan = plan_training(
        PrefixIndex(PAIRS),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        world_size=1,
        budget=RowBudget(256, 4096),
    )
    model = tiny_model("qwen3")
    rates = [learning_rate(settings, step, len(plan)) for step in range(len(plan))]
    with Float64():
        rows = plain_training(model, PAIRS, settings, [step.pairs for step in plan], rates)
    return rows, {name: weight.detach() for name, weight in model.named_parameters()}


def difference(rows: list[dict[str, Any]], expected: list[dict[str, Any]], curve: str) -> float:
    """Largest difference between two curves, relative to the larger of 1 and the value."""
    assert [row["step"] for row in rows] == list(range(len(expected)))
    return max(
        abs(row[curve] - of[curve]) / max(1.0, abs(of[curve])) for row, of in zip(rows, expected, strict=True)
    )


@pytest.fixture(scope="module")
def plain() -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    return plain_run(SETTINGS)


def test_the_layouts_differ_as_they_should() -> None:
    """Micro-batches of the first step, per rank and layout: the grid would prove nothing if all were alike."""

    def shape(**packing: int) -> tuple[int, int]:
        budget = RowBudget(packing["row_tokens"], packing["micro_batch_tokens"])
        plan = plan_training(PrefixIndex(PAIRS), epochs=1, batch_size=8, seed=0, world_size=1, budget=budget)
        return len(plan[0].micro_batches[0]), max(len(row) for row in plan[0].micro_batches[0][0])

    assert shape(**PACKED) == (1, 8)
    assert shape(**ALONE) == (8, 1)
    micro_batches, merged = shape(**MERGED)
    assert 1 < micro_batches < 8 and 1 < merged < 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ranks_zero_stages_and_packing_do_not_change_the_curve(
    layout: str, runs: Runs, plain: tuple[list[dict[str, float]], dict[str, torch.Tensor]]
) -> None:
    rows, (expected, weights) = runs.rows(layout), plain
    assert len(rows) == STEPS
    differences = {curve: difference(rows, expected, curve) for curve in (*CURVES, "delta")}
    found = runs.stage.weights(layout)
    apart = max((found[name].double() - weight).abs().max().item() for name, weight in weights.items())
    print(layout, {name: f"{value:.0e}" for name, value in differences.items()}, f"weights {apart:.0e}")
    assert max(differences.values()) <= 1e-4, differences
    assert apart <= 0.05 * SETTINGS.learning_rate


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_as_the_plain_loop(name: str, runs: Runs) -> None:
    settings = runs.jobs[name].settings
    rows, (expected, _) = runs.rows(name), plain_run(settings)
    differences = {curve: difference(rows, expected, curve) for curve in CURVES}
    if settings.objective == "spot_bco":
        differences["delta"] = difference(rows, expected, "delta")
    print(name, {curve: f"{value:.0e}" for curve, value in differences.items()})
    assert max(differences.values()) <= 1e-4, differences
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"], "nothing was learned, so nothing was compared"


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_run_goes_on_to_the_very_same_weights_and_metrics(name: str, runs: Runs) -> None:
    whole = f"2 ranks, {name.removeprefix('resumed, ')}, merged"
    log = runs.log_path.read_text()
    assert log.count(f"going on after step 8 of {STEPS}") == len(RESUMED) * 2, (
        "not every rank of every job went on"
    )
    assert timeless(runs.rows(name)) == timeless(runs.rows(whole))
    expected = runs.stage.weights(whole)
    for weight, value in runs.stage.weights(name).items():
        assert torch.equal(value, expected[weight]), weight


def test_not_a_number_in_the_weights_is_found_before_the_first_step(runs: Runs) -> None:
    job = runs.jobs[BROKEN]
    said = json.loads(job.error_path.read_text())
    assert said["kind"] == "InputError" and "gives y⁺ the log-prob nan" in said["message"]
    assert "look for NaN or infinity in its weights" in said["message"]
    assert runs.rows(BROKEN) == []
    assert not (job.output_dir / "checkpoint").exists()
