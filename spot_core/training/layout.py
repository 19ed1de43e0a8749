"""Whether rows of this model are merged by common prefix or plain, and by which kernel it attends."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PretrainedConfig

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training.attention import BLOCK, attention_kernel, why_not_merged
from spot_core.training.pairs import Pair
from spot_core.training.plan import PairIndex, RowBudget
from spot_core.training.prefixes import PlainIndex, PrefixIndex
from spot_core.training.rows import RowForm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """How the pairs of a job are laid out for its model."""

    form: RowForm
    kernel: str
    """`attn_implementation` of transformers."""
    index: PairIndex
    budget: RowBudget


def choose_layout(
    config: PretrainedConfig, settings: TrainConfig, pairs: Sequence[Pair], *, on_gpu: bool
) -> Layout:
    """Follows ``settings.rows``; with `auto`, rows are merged wherever that is right.

    Raises:
        ConfigError: `rows: merged` for a model of which rows must not be merged.
    """
    reason = why_not_merged(config)
    if reason is not None and settings.rows == "merged":
        raise ConfigError(
            f"rows = 'merged', but not for this {config.model_type}: {reason}. Set rows to auto or plain"
        )
    merged = settings.rows != "plain" and reason is None
    if settings.rows == "auto" and reason is not None:
        log.warning("rows are plain, one sequence each, for this %s: %s", config.model_type, reason)
    index = PrefixIndex(pairs) if merged else PlainIndex(pairs)
    budget = RowBudget.of(settings, on_gpu=on_gpu, merged=merged)
    row_tokens = max([budget.row_tokens, *(index.trie_tokens([pair]) for pair in range(len(index)))])
    kernel = attention_kernel(config, on_gpu=on_gpu, merged=merged, row_tokens=row_tokens)
    whole_blocks = merged and kernel == "flex_attention"
    return Layout(
        form=RowForm(merged=merged, multiple_of=BLOCK if whole_blocks else 1),
        kernel=kernel,
        index=index,
        budget=budget,
    )
