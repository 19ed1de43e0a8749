"""Log-probs of responses under a Hugging Face causal language model, from rows of tokens."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from spot_core.training import segments
from spot_core.training.attention import model_masks
from spot_core.training.preflight import LOGITS_PER_CHUNK
from spot_core.training.rows import RowBatch


class SequenceLogProbs(nn.Module):
    """Wraps a causal language model: `RowBatch` → log π(y|x) of every sequence, summed over its response.

    Logits are computed only where a response token is predicted, in chunks over tokens that the backward pass
    computes again; they are soft-capped where the model does so, and normalised in fp32.
    """

    def __init__(self, model: PreTrainedModel, logits_per_chunk: int = LOGITS_PER_CHUNK) -> None:
        super().__init__()
        self.model = model
        self._text_config = model.config.get_text_config()
        self._softcap = getattr(self._text_config, "final_logit_softcapping", None)
        # Cohere multiplies its logits, Granite divides them.
        self._logit_scale = getattr(self._text_config, "logit_scale", None) or 1.0
        self._logit_scale /= getattr(self._text_config, "logits_scaling", None) or 1.0
        self._edges_per_chunk = max(1, logits_per_chunk // self._text_config.vocab_size)

    def forward(self, batch: RowBatch) -> Tensor:
        """Returns (sequences,) float64, in nats."""
        hidden = self.model.base_model(**self._inputs(batch), use_cache=False).last_hidden_state
        # (rows, tokens, hidden)
        predictors = hidden.flatten(0, 1)[batch.edge_parent]  # (edges, hidden)
        chunks = [
            self._edge_logprobs(hidden_chunk, token_chunk, recompute=len(predictors) > self._edges_per_chunk)
            for hidden_chunk, token_chunk in zip(
                predictors.split(self._edges_per_chunk),
                batch.edge_token.split(self._edges_per_chunk),
                strict=True,
            )
        ]
        by_edge = torch.cat(chunks).double()  # (edges,)
        sums = torch.zeros(batch.sequences, dtype=torch.float64, device=by_edge.device)
        # An empty micro-batch has no sum to differentiate, but every rank needs a backward pass.
        return sums.index_add(0, batch.path_sequence, by_edge[batch.path_edge])

    def _inputs(self, batch: RowBatch) -> dict[str, Any]:
        if not batch.form.merged:
            return {"input_ids": batch.input_ids, "attention_mask": batch.real_tokens}
        inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
        config, dtype = self._text_config, self.model.dtype
        if config._attn_implementation == segments.KERNEL:
            group = config.num_attention_heads // config.num_key_value_heads
            return inputs | {"trie_rows": [segments.RowSegments.of(end, group, dtype) for end in batch.end]}
        return inputs | {"attention_mask": model_masks(config, batch.end, batch.position_ids, dtype)}

    def _edge_logprobs(self, hidden: Tensor, tokens: Tensor, *, recompute: bool) -> Tensor:
        if recompute and torch.is_grad_enabled():
            return checkpoint(self._edge_logprobs_once, hidden, tokens, use_reentrant=False)
        return self._edge_logprobs_once(hidden, tokens)

    def _edge_logprobs_once(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """(edges, hidden), (edges,) → (edges,) log-probs in fp32 or better."""
        logits = self.model.get_output_embeddings()(hidden)
        if self._logit_scale != 1.0:
            logits = logits * self._logit_scale
        if self._softcap is not None:
            logits = self._softcap * torch.tanh(logits / self._softcap)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return -cross_entropy(logits, tokens, reduction="none")


def disable_dropout(model: nn.Module) -> None:
    """Sets every dropout rate to 0: π_θ must equal π_ref at the start, and steps must not depend on packing."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
