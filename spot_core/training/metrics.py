"""What is reported of every optimizer step: sums over micro-batches and ranks, and the utilisation of the GPUs.

Model FLOPs utilisation is the arithmetic that a step needs over what the devices could have done in its time. Counted
is what the method cannot do without, in multiplications and additions: every node of a trie once, its attention to the
path above it, the vocabulary only where a token is predicted. What gradient checkpointing computes again, padding, and
masked attention do not count, nor do norms, biases and softmax.
"""

import sys
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from spot_core.geometry import layer_heads, layer_windows
from spot_core.training.rows import RowBatch


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


_TRAINED = 6  # FLOPs per weight and token: forward 2, gradient of the input 2, gradient of the weight 2
_FROZEN = 4  # no gradient of the weight
_ATTENTION = 12  # per layer, query width and attended pair: q·k and a·v, forward 2 each and backward 4 each

_PEAK_SIZE = 8192  # rows and columns: large enough to fill any GPU of today
_PEAK_SECONDS = 1.0
_PEAK_PRODUCTS = 5  # in a row, between two looks at the clock


@dataclass(frozen=True)
class ModelFlops:
    """What a forward and a backward pass of a decoder cost."""

    per_token: int
    per_prediction: int
    per_attended: tuple[int, ...]
    """Of each layer, per attended pair (query, key)."""
    windows: tuple[int, ...]
    """Of each layer: how many tokens it attends to at most."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ModelFlops | None":
        """Counts ``model``, or returns None where its layers are not all linear (a mixture of experts, say)."""
        decoder, output = model.base_model, model.get_output_embeddings()
        config = model.config.get_text_config()
        per_token = 0
        for module in decoder.modules():
            if isinstance(module, nn.Linear):
                per_token += _per_weight(module) * module.in_features * module.out_features
            elif not isinstance(module, nn.Embedding):
                shapes = [
                    getattr(weight, "ds_shape", weight.shape) for weight in module.parameters(recurse=False)
                ]
                if any(len(shape) > 1 for shape in shapes):
                    return None
        widths = [heads * width for heads, _, width in layer_heads(config)]
        return cls(
            per_token=per_token,
            per_prediction=_per_weight(output) * output.in_features * output.out_features,
            per_attended=tuple(_ATTENTION * width for width in widths),
            windows=tuple(sys.maxsize if window is None else window for window in layer_windows(config)),
        )

    def count(self, batch: RowBatch) -> int:
        """FLOPs that the forward and backward pass of a micro-batch need."""
        padding = batch.input_ids.numel() - batch.tokens  # each token of it stands at depth 0
        attended = {
            window: int((batch.position_ids + 1).clamp(max=window).sum()) - padding
            for window in set(self.windows)
        }
        return (
            batch.tokens * self.per_token
            + len(batch.edge_token) * self.per_prediction
            + sum(
                attended[window] * flops
                for window, flops in zip(self.windows, self.per_attended, strict=True)
            )
        )


def _per_weight(layer: nn.Module) -> int:
    return _TRAINED if layer.weight.requires_grad else _FROZEN


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of ``device`` (a GPU) in large matrix products: the best of about a second."""
    left, right = (torch.randn(_PEAK_SIZE, _PEAK_SIZE, device=device, dtype=dtype) for _ in range(2))
    product = left @ right  # the first one also loads the library
    best, deadline = 0.0, time.perf_counter() + _PEAK_SECONDS
    while time.perf_counter() < deadline:
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        for _ in range(_PEAK_PRODUCTS):
            torch.matmul(left, right, out=product)
        torch.cuda.synchronize(device)
        flops = _PEAK_PRODUCTS * 2 * _PEAK_SIZE**3
        best = max(best, flops / (time.perf_counter() - started))
    del left, right, product
    torch.cuda.empty_cache()
    return best
