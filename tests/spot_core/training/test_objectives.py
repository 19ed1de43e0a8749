import math

import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.training.objectives import Delta, loss_denominator, reward_losses, sft_losses, value_at_start

REWARDS = (
    torch.tensor([1.5, -0.3, 0.0], dtype=torch.float64),
    torch.tensor([0.2, -4.0, 0.0], dtype=torch.float64),
)


def _sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("objective", "formula"),
    [
        ("reward_sft", lambda c, r, d: -math.log(_sigma(c))),
        ("dpo", lambda c, r, d: -math.log(_sigma(c - r))),
        ("spot_bce", lambda c, r, d: -math.log(_sigma(c)) - math.log(1 - _sigma(r))),
        ("spot_bco", lambda c, r, d: -math.log(_sigma(c - d)) - math.log(1 - _sigma(r - d))),
    ],
)
def test_losses_are_those_of_the_paper(objective: str, formula) -> None:
    losses = reward_losses(objective, *REWARDS, 0.7)
    for loss, chosen, rejected in zip(losses.tolist(), *(r.tolist() for r in REWARDS), strict=True):
        assert loss == pytest.approx(formula(chosen, rejected, 0.7), rel=1e-12)


def test_values_at_start_are_ln2_and_twice_ln2() -> None:
    assert value_at_start("dpo") == value_at_start("reward_sft") == pytest.approx(math.log(2))
    assert value_at_start("spot_bce") == value_at_start("spot_bco") == pytest.approx(2 * math.log(2))


def test_sft_means_over_sequences_or_tokens() -> None:
    logprobs, tokens = torch.tensor([-6.0, -2.0]), torch.tensor([3, 1])

    def mean(kind: str) -> float:
        settings = TrainConfig(objective="sft", sft_mean=kind)
        losses = sft_losses(logprobs, tokens, kind)
        return losses.sum().item() / loss_denominator(settings, 2, 4)

    assert mean("sequences") == pytest.approx(2.0)
    assert mean("tokens") == pytest.approx(2.0)
    logprobs = torch.tensor([-6.0, -4.0])
    assert mean("sequences") == pytest.approx(3.0)
    assert mean("tokens") == pytest.approx(2.5)


def test_running_mean_weighs_every_pair_of_every_step_alike() -> None:
    delta = Delta(TrainConfig(delta="running_mean"))
    assert delta.value == 0.0
    delta.update(reward_sum=8.0, pairs=2)
    delta.update(reward_sum=-3.0, pairs=1)
    assert delta.value == pytest.approx(0.5 * (8.0 - 3.0) / 3)


def test_ema_decays_from_zero() -> None:
    delta = Delta(TrainConfig(delta="ema", ema_decay=0.9))
    delta.update(reward_sum=8.0, pairs=2)
    assert delta.value == pytest.approx(0.1 * 2.0)
    delta.update(reward_sum=0.0, pairs=5)
    assert delta.value == pytest.approx(0.09 * 2.0)


@pytest.mark.parametrize("kind", ["running_mean", "ema"])
def test_delta_goes_on_from_its_state(kind: str) -> None:
    whole, resumed = (Delta(TrainConfig(delta=kind)) for _ in range(2))
    whole.update(3.0, 4)
    resumed.load_state_dict(whole.state_dict())
    for delta in (whole, resumed):
        delta.update(-1.0, 3)
    assert resumed.value == whole.value
