"""The losses of the paper, per pair, from the implicit rewards of its two responses.

    r_θ(x, y) = β · Σ_t [log π_θ(y_t | x, y_<t) − log π_ref(y_t | x, y_<t)]        r⁺ = r(y⁺), r⁻ = r(y⁻)

Every function takes tensors of shape (pairs,) and returns the loss of each pair, not their mean.
Source: Surgical Post-Training (arXiv 2603.01683); δ as in TRL's former `bco_pair`, but made once a step.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from spot_core.config.train import Objective, TrainConfig


def reward_sft(reward_chosen: Tensor) -> Tensor:
    """−log σ(r⁺)"""
    return -logsigmoid(reward_chosen)


def dpo(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    """−log σ(r⁺ − r⁻)"""
    return -logsigmoid(reward_chosen - reward_rejected)


def spot_bce(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    """−log σ(r⁺) − log σ(−r⁻)"""
    return -logsigmoid(reward_chosen) - logsigmoid(-reward_rejected)


def spot_bco(reward_chosen: Tensor, reward_rejected: Tensor, delta: float) -> Tensor:
    """−log σ(r⁺ − δ) − log σ(−(r⁻ − δ)), without a gradient through δ"""
    return -logsigmoid(reward_chosen - delta) - logsigmoid(-(reward_rejected - delta))


def reward_losses(
    objective: Objective, reward_chosen: Tensor, reward_rejected: Tensor, delta: float
) -> Tensor:
    """The loss of each pair under ``objective``, any but `sft`. Shapes (pairs,) → (pairs,)."""
    match objective:
        case "reward_sft":
            return reward_sft(reward_chosen)
        case "dpo":
            return dpo(reward_chosen, reward_rejected)
        case "spot_bce":
            return spot_bce(reward_chosen, reward_rejected)
        case "spot_bco":
            return spot_bco(reward_chosen, reward_rejected, delta)
    raise AssertionError(f"{objective} has no rewards")


def sft_losses(logprob_chosen: Tensor, tokens_chosen: Tensor, mean: str) -> Tensor:
    """−log π_θ(y⁺|x), divided by its tokens where the mean is over sequences. Shapes (pairs,) → (pairs,).

    With ``mean="tokens"`` the sum over a step is divided by the step's tokens instead: see `loss_denominator`.
    """
    return -logprob_chosen / tokens_chosen if mean == "sequences" else -logprob_chosen


def loss_denominator(settings: TrainConfig, pairs: int, tokens_chosen: int) -> int:
    """What the losses of an optimizer step, summed over all its pairs on all ranks, are divided by."""
    by_token = settings.objective == "sft" and settings.sft_mean == "tokens"
    return tokens_chosen if by_token else pairs


def value_at_start(objective: Objective) -> float:
    """The loss of a pair where π_θ = π_ref, so r = 0 (δ = 0), for any objective but `sft`."""
    zero = torch.zeros(1, dtype=torch.float64)
    return reward_losses(objective, zero, zero, 0.0).item()


class Delta:
    """δ = estimate of ½·E[r⁺ + r⁻] from the pairs of all earlier optimizer steps; 0 before the first.

    Updated once a step with sums over all ranks, so it depends neither on packing nor on ranks.
    ``running_mean``: the mean over all pairs so far. ``ema``: δ ← decay·δ + (1 − decay)·(mean of the step).
    """

    def __init__(self, settings: TrainConfig) -> None:
        self.value = 0.0
        self._pairs = 0
        self._ema_decay = settings.ema_decay if settings.delta == "ema" else None

    def update(self, reward_sum: float, pairs: int) -> None:
        """Takes in a step: ``reward_sum`` = Σ (r⁺ + r⁻) over its ``pairs``."""
        mean = 0.5 * reward_sum / pairs
        self._pairs += pairs
        weight = pairs / self._pairs if self._ema_decay is None else 1.0 - self._ema_decay
        self.value += weight * (mean - self.value)

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {"value": self.value, "pairs": self._pairs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self._pairs = float(state["value"]), int(state["pairs"])
