"""LoRA for real: torchrun, DeepSpeed, two ranks; against a plain loop over padded sequences with PEFT's own model."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, PreTrainedModel

from spot_core.config.train import LoraConfig, TrainConfig
from spot_core.training.adapters import add_adapters
from spot_core.training.launch import launch
from spot_core.training.pairs import Pair, read_pairs
from spot_core.training.plan import RowBudget, learning_rate, plan_training
from spot_core.training.prefixes import PrefixIndex
from tests.spot_core.training.test_engine import PAIRS, Stage
from tests.spot_core.training.test_logprobs import padded_logprobs

pytestmark = pytest.mark.engine

LORA = LoraConfig(rank=4, alpha=8, save_adapter=True)
SETTINGS = {"objective": "dpo", "epochs": 2, "learning_rate": 3e-3, "lora": LORA}


class StoppedError(Exception):
    """Ends a launch from outside."""


def train(stage: Stage, name: str, *, stop_at: int | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Rows of metrics, without what hangs on time."""
    rows: list[dict[str, Any]] = []

    def take(row: dict[str, Any]) -> None:
        rows.append({key: value for key, value in row.items() if key != "tokens_per_second"})
        if row["step"] == stop_at:
            raise StoppedError

    job = stage.job(name, **SETTINGS, **settings)
    launch(
        job.model_copy(update={"base_model": "some/base"}),
        log_path=stage.folder / f"{name}.log",
        on_metrics=take,
    )
    return rows


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(tmp_path_factory.mktemp("lora"))
    launch(stage.job("reference", "reference"), log_path=stage.folder / "reference.log")
    return stage


@pytest.fixture(scope="module")
def trained(stage: Stage) -> list[dict[str, Any]]:
    return train(stage, "trained")


def plain_training(model: PreTrainedModel, pairs: list[Pair], settings: TrainConfig) -> list[float]:
    """DPO with AdamW on whatever of ``model`` is trainable, one padded batch a step; returns the losses."""
    steps = plan_training(
        PrefixIndex(pairs),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        world_size=1,
        budget=RowBudget(10**6, 10**6),
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=settings.betas, weight_decay=settings.weight_decay)
    with torch.no_grad():
        reference = padded_logprobs(model, pairs)
    losses = []
    for number, step in enumerate(steps):
        members = list(step.pairs)
        rewards = settings.beta * (padded_logprobs(model, [pairs[i] for i in members]) - reference[members])
        loss = -logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, number, len(steps))
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())


def test_two_ranks_train_what_a_plain_loop_trains(stage: Stage, trained: list[dict[str, Any]]) -> None:
    settings = stage.job("trained", **SETTINGS).settings
    model = AutoModelForCausalLM.from_pretrained(stage.model)
    add_adapters(model, LORA, settings.seed)
    losses = plain_training(model, read_pairs([stage.pairs])[:PAIRS], settings)
    assert [row["loss"] for row in trained] == pytest.approx(losses, rel=1e-4)
    assert losses[-2] < 0.9 * losses[0]


def test_the_checkpoint_is_the_merged_model_and_the_adapter_fits_the_base(
    stage: Stage, trained: list[dict[str, Any]]
) -> None:
    folder, before = stage.folder / "trained", weights(stage.model)
    merged = weights(folder / "checkpoint")
    changed = {name for name in merged if not torch.equal(merged[name], before[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight")}
    base = AutoModelForCausalLM.from_pretrained(stage.model)
    by_peft = peft.PeftModel.from_pretrained(base, folder / "adapter").merge_and_unload()
    for name, weight in by_peft.named_parameters():
        torch.testing.assert_close(weight, merged[name], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [2, 3])
def test_a_stopped_run_goes_on_to_the_same_weights(
    stage: Stage, trained: list[dict[str, Any]], zero_stage: int
) -> None:
    name = f"stopped-{zero_stage}"
    with pytest.raises(StoppedError):
        train(stage, name, stop_at=5, zero_stage=zero_stage)
    rows = train(stage, name, zero_stage=zero_stage)
    assert "going on after step" in (stage.folder / f"{name}.log").read_text()
    expected = weights(stage.folder / "trained" / "checkpoint")
    found = weights(stage.folder / name / "checkpoint")
    if zero_stage == 2:  # that of ``trained``
        assert rows == trained
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    for key in ("loss", "margin", "grad_norm"):
        assert [row[key] for row in rows] == pytest.approx([row[key] for row in trained], rel=1e-4, abs=1e-4)
    for key, weight in found.items():
        torch.testing.assert_close(weight, expected[key], rtol=0, atol=1e-4)
