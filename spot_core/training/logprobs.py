"""Log-probs of responses under a Hugging Face causal language model, from rows of tokens."""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from spot_core.training import segments
from spot_core.training.attention import model_masks
from spot_core.training.head import DEFAULT_BUDGET, LogitBudget, LogitTransform, OutputLayer
from spot_core.training.rows import RowBatch


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
