"""What is watched at every optimizer step: sums over micro-batches and ranks, and the row made of them."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass
class StepSums:
    """Sums over the pairs of one optimizer step; added up over micro-batches, then over ranks."""

    loss: float = 0.0
    reward_chosen: float = 0.0
    reward_rejected: float = 0.0
    right: float = 0.0  # pairs with r⁺ > r⁻
    rejected_logratio: float = 0.0  # Σ log π_θ(y⁻|x) − log π_ref(y⁻|x), nats
    rejected_tokens: float = 0.0
    pairs: float = 0.0
    tokens: float = 0.0  # of both sequences of every pair, as if each stood alone
    flops: float = 0.0  # that the model needed for them

    def add(self, values: Tensor, rejected_tokens: int, pairs: int, tokens: int, flops: int) -> None:
        """Takes in a micro-batch; ``values`` is (5,): the first five fields, in their order."""
        loss, chosen, rejected, right, logratio = values.tolist()
        self.loss += loss
        self.reward_chosen += chosen
        self.reward_rejected += rejected
        self.right += right
        self.rejected_logratio += logratio
        self.rejected_tokens += rejected_tokens
        self.pairs += pairs
        self.tokens += tokens
        self.flops += flops

    def over_ranks(self, device: torch.device) -> "StepSums":
        """Returns the sums over all ranks; every rank must call it."""
        sums = torch.tensor(list(vars(self).values()), dtype=torch.float64, device=device)
        dist.all_reduce(sums)
        return StepSums(*sums.tolist())

    @property
    def kl(self) -> float:
        """Estimate of KL(π_ref ‖ π_θ) per token, in nats, on the rejected responses.

        It is the plain Monte-Carlo estimate (Schulman's k1): the mean of log π_ref − log π_θ over the tokens
        of y⁻, which π_ref sampled. y⁻ are failures only, sampled at the rollout's temperature and top-p, and
        the objective pushes exactly them down: so it is an upper, not an unbiased, figure for all responses.
        """
        return -self.rejected_logratio / self.rejected_tokens
