"""Log-probs of responses under a Hugging Face causal language model, from rows of tokens.

    log π(t) = z_t − log Σ_v exp z_v          z = softcap · tanh(scale · (W h + b) / softcap)

No (tokens × vocabulary) matrix is ever whole: logits are computed in chunks of tokens. While all of them together are
few, their softmax is kept for the backward pass; otherwise the backward pass computes each chunk again. Either way the
gradient is computed in place.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from spot_core.training import segments
from spot_core.training.attention import model_masks
from spot_core.training.preflight import LOGITS_KEPT, LOGITS_PER_CHUNK
from spot_core.training.rows import RowBatch


@dataclass(frozen=True)
class LogitTransform:
    """What a model does to W h + b: Cohere multiplies, Granite divides, Gemma caps."""

    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, config: PretrainedConfig) -> "LogitTransform":
        """Reads the config of a text model."""
        multiplied = getattr(config, "logit_scale", None) or 1.0
        divided = getattr(config, "logits_scaling", None) or 1.0
        return cls(multiplied / divided, getattr(config, "final_logit_softcapping", None))

    def __call__(self, logits: Tensor) -> Tensor:
        """(…, vocabulary) → the same shape, in fp32 or better."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits

    def cap_slope(self, raw: Tensor) -> Tensor:
        """dz / d(scale · (W h + b)), from W h + b, of a model that caps."""
        assert self.softcap is not None
        return 1.0 - torch.tanh(raw * (self.scale / self.softcap)).square()


@dataclass(frozen=True)
class LogitBudget:
    """How many logits (tokens × vocabulary) may be alive."""

    per_chunk: int = LOGITS_PER_CHUNK
    kept: int = LOGITS_KEPT

    def rows(self, vocabulary: int) -> int:
        """Tokens of a chunk."""
        return max(1, self.per_chunk // vocabulary)


DEFAULT_BUDGET = LogitBudget()


class OutputLayer(nn.Module):
    """The output layer of a model as a function from hidden states and tokens to the tokens' log-probs.

    It shares the parameters of the model's own output layer. It is a module because under ZeRO-3 a weight is whole
    only inside the forward and backward pass of a module that has it, and every rank must enter each module equally
    often: one call here makes all chunks, however many a rank has.
    """

    def __init__(self, head: nn.Module, transform: LogitTransform, budget: LogitBudget) -> None:
        """``head`` is the model's output embeddings: W and perhaps b."""
        super().__init__()
        self.weight: nn.Parameter = head.weight
        self.register_parameter("bias", getattr(head, "bias", None))
        self._transform, self._budget = transform, budget

    def forward(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Returns the log-prob of each of ``tokens``, in fp32 or better.

        Args:
            hidden: (tokens, width) final hidden states that predict them.
            tokens: (tokens,) ids.
        """
        return _TokenLogProbs.apply(hidden, self.weight, self.bias, tokens, self._transform, self._budget)

    def _save_to_state_dict(self, *_: Any) -> None:
        """Adds nothing: the model saves these parameters under its own names."""

    def _load_from_state_dict(self, *_: Any) -> None:
        """Loads nothing: the model loads them."""


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  (autograd calls it by position)
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        transform: LogitTransform,
        budget: LogitBudget,
    ) -> Tensor:
        rows = budget.rows(len(weight))
        keep = any(ctx.needs_input_grad) and transform.softcap is None
        keep = keep and len(hidden) * len(weight) <= budget.kept
        logprobs, largest, normalisers, kept = [], [], [], []
        for hidden_chunk, token_chunk in zip(hidden.split(rows), tokens.split(rows), strict=True):
            logits = transform(nn.functional.linear(hidden_chunk, weight, bias))
            # The largest is taken off first: near π = 1 what matters is how far the others are below it.
            largest.append(logits.amax(-1, keepdim=True))
            chosen = logits.sub_(largest[-1]).gather(-1, token_chunk[:, None])
            total = logits.exp_().sum(-1, keepdim=True)  # in place: a copy costs as much as the sum
            normalisers.append(total.log())
            logprobs.append((chosen - normalisers[-1])[:, 0])
            if keep:
                kept.append(logits.div_(total))
        ctx.save_for_backward(hidden, weight, bias, tokens, torch.cat(largest), torch.cat(normalisers))
        ctx.kept, ctx.transform, ctx.rows = kept, transform, rows
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        hidden, weight, bias, tokens, largest, normalisers = ctx.saved_tensors
        wide = torch.promote_types(weight.dtype, torch.float32)
        by_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        by_bias = torch.zeros_like(bias, dtype=wide) if bias is not None and ctx.needs_input_grad[2] else None
        by_hidden = []
        parts = (part.split(ctx.rows) for part in (hidden, tokens, largest, normalisers, gradient))
        for number, (states, ids, most, normaliser, of_logprob) in enumerate(zip(*parts, strict=True)):
            slope = None
            if ctx.kept:
                probabilities = ctx.kept[number]
            else:
                raw = nn.functional.linear(states, weight, bias)
                if ctx.transform.softcap is not None:
                    slope = ctx.transform.cap_slope(raw)
                probabilities = ctx.transform(raw).sub_(most).sub_(normaliser).exp_()
            # d log π(t) / d z = [v = t] − p_v
            scaled = (ctx.transform.scale * of_logprob)[:, None]
            by_logits = probabilities.mul_(-scaled).scatter_add_(-1, ids[:, None], scaled)
            if slope is not None:
                by_logits.mul_(slope)
            by_logits = by_logits.to(weight.dtype)
            by_hidden.append(by_logits @ weight)
            if by_weight is not None:
                if weight.dtype == wide:
                    by_weight.addmm_(by_logits.t(), states)
                else:  # the sum over chunks must not be rounded to bf16 at each of them
                    by_weight += by_logits.t() @ states
            if by_bias is not None:
                by_bias += by_logits.sum(0)
        ctx.kept = []
        return (
            torch.cat(by_hidden),
            None if by_weight is None else by_weight.to(weight.dtype),
            None if by_bias is None else by_bias.to(bias.dtype),
            None,
            None,
            None,
        )


class SequenceLogProbs(nn.Module):
    """Wraps a causal language model: `RowBatch` → log π(y|x) of every sequence, summed over its response.

    Logits are computed only where a response token is predicted: see `OutputLayer`.
    """

    def __init__(self, model: PreTrainedModel, budget: LogitBudget = DEFAULT_BUDGET) -> None:
        super().__init__()
        self.model = model
        self._text_config = model.config.get_text_config()
        transform = LogitTransform.of(self._text_config)
        self.output_layer = OutputLayer(model.get_output_embeddings(), transform, budget)

    def forward(self, batch: RowBatch, *, by_token: bool = False) -> Tensor:
        """Returns (sequences,) float64, in nats; ``by_token``: (edges,), of each token that is predicted."""
        hidden = self.model.base_model(**self._inputs(batch), use_cache=False).last_hidden_state
        predictors = hidden.flatten(0, 1)[batch.edge_parent]  # (rows, tokens, width) → (edges, width)
        by_edge = self.output_layer(predictors, batch.edge_token).double()
        return by_edge if by_token else batch.sum_paths(by_edge)

    def _inputs(self, batch: RowBatch) -> dict[str, Any]:
        config, dtype = self._text_config, self.model.dtype
        if not batch.form.merged and batch.form.block is None:
            return {"input_ids": batch.input_ids, "attention_mask": batch.real_tokens}
        inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
        if config._attn_implementation == segments.KERNEL:
            group = config.num_attention_heads // config.num_key_value_heads
            return inputs | {"trie_rows": [segments.RowSegments.of(end, group, dtype) for end in batch.end]}
        return inputs | {"attention_mask": model_masks(config, batch.end, batch.position_ids, dtype)}
