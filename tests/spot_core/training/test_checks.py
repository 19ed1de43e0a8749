import json
import logging
import math
from pathlib import Path

import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.training import checks
from spot_core.training.checks import check_first_loss, check_grad_norm, check_loss, check_memory
from spot_core.training.device import Place
from spot_core.training.job import TrainingJob
from spot_core.training.layout import choose_layout
from spot_core.training.pairs import Reference
from spot_core.training.plan import plan_training
from spot_core.training.preflight import GIB, Room
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs

NOT_FINITE = [math.nan, math.inf, -math.inf]
PAIRS = random_pairs(3)
REFERENCE = [Reference(-4.0 - index, -7.0) for index in range(len(PAIRS))]


@pytest.mark.parametrize("loss", NOT_FINITE)
def test_a_loss_that_is_no_number_stops_training_and_names_step_cause_and_remedy(loss: float) -> None:
    with pytest.raises(EngineError) as error:
        check_loss(17, loss, TrainConfig(learning_rate=3e-4))
    assert f"the loss of step 17 is {loss}" in str(error.value)
    assert "lower learning_rate (now 0.0003), set precision to fp32" in str(error.value)
    assert "NaN in the model's weights" in str(error.value)


@pytest.mark.parametrize("grad_norm", NOT_FINITE)
def test_a_gradient_that_is_no_number_stops_training_and_names_step_and_remedy(grad_norm: float) -> None:
    with pytest.raises(EngineError) as error:
        check_grad_norm(4, grad_norm, TrainConfig(learning_rate=3e-4))
    assert f"the gradient norm of step 4 is {grad_norm}" in str(error.value)
    assert "lower learning_rate (now 0.0003) or set precision to fp32" in str(error.value)


def test_finite_figures_pass_however_large() -> None:
    for value in (0.0, 1e-30, 1e30):
        check_loss(0, value, TrainConfig())
        check_grad_norm(0, value, TrainConfig())


@pytest.mark.parametrize(
    ("objective", "at_start"),
    [("reward_sft", math.log(2)), ("dpo", math.log(2)), ("spot_bce", math.log(4)), ("spot_bco", math.log(4))],
)
def test_a_first_loss_away_from_r_zero_means_a_stale_reference(objective: str, at_start: float) -> None:
    settings = TrainConfig(objective=objective, precision="fp32")
    check_first_loss(at_start + 5e-4, settings, PAIRS, REFERENCE)
    for loss in (at_start - 0.01, at_start + 0.01):
        with pytest.raises(EngineError) as error:
            check_first_loss(loss, settings, PAIRS, REFERENCE)
        assert f"the first loss is {loss:.6f}, but {objective} at r = 0 gives {at_start:.6f}" in str(
            error.value
        )
        assert "the reference log-probs are not this model's. Compute them again" in str(error.value)


@pytest.mark.parametrize("mean", ["tokens", "sequences"])
def test_the_first_loss_of_sft_is_that_of_the_reference(mean: str) -> None:
    settings = TrainConfig(objective="sft", sft_mean=mean, precision="fp32")
    lengths = [len(pair.chosen) for pair in PAIRS]
    losses = [-of_pair.chosen_logprob for of_pair in REFERENCE]
    by_sequence = sum(loss / length for loss, length in zip(losses, lengths, strict=True)) / len(PAIRS)
    expected = sum(losses) / sum(lengths) if mean == "tokens" else by_sequence
    check_first_loss(expected, settings, PAIRS, REFERENCE)
    with pytest.raises(EngineError, match="sft at r = 0"):
        check_first_loss(expected + 0.01, settings, PAIRS, REFERENCE)


def test_bf16_may_round_the_first_loss_further_than_fp32() -> None:
    loss = math.log(2) + 0.03
    check_first_loss(loss, TrainConfig(objective="dpo", precision="bf16"), PAIRS, REFERENCE)
    with pytest.raises(EngineError, match=r"tolerance 0\.001"):
        check_first_loss(loss, TrainConfig(objective="dpo", precision="fp32"), PAIRS, REFERENCE)


def test_a_rank_without_the_memory_is_refused_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny_model("qwen3").config.to_dict()))
    settings = TrainConfig(batch_size=2, ranks=1)
    job = TrainingJob(
        mode="train",
        model_path=tmp_path,
        pairs=(),
        reference=(),
        settings=settings,
        output_dir=tmp_path,
        scratch_dir=tmp_path,
    )
    place = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")
    layout = choose_layout(tiny_model("qwen3").config, settings, PAIRS, place)
    plan = plan_training(layout.index, epochs=1, batch_size=2, seed=0, world_size=1, budget=layout.budget)
    monkeypatch.setattr(checks, "free_room", lambda place: Room(64 * GIB))
    with caplog.at_level(logging.INFO):
        check_memory(job, place, plan, layout)
    assert "estimated memory:" in caplog.text
    monkeypatch.setattr(checks, "free_room", lambda place: Room(GIB // 2))
    with pytest.raises(ConfigError, match=r"but this machine has 0\.50 GiB free .*No change of train"):
        check_memory(job, place, plan, layout)
