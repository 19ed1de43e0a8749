"""Whether rows of this model are merged by common prefix or plain, and by which kernel it attends."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PretrainedConfig

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training import flex
from spot_core.training.attention import attention_kernel, layer_shapes, wants_flex, why_not_merged
from spot_core.training.device import DTYPES, Place, gather
from spot_core.training.job import TrainingJob
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
    row_tokens: int
    """Of the longest row that there may be."""
    fallback: str | None = None
    """Why rows are plain although the settings allow merged ones, or why FlexAttention is not used where it should."""

    @property
    def has_dense_mask(self) -> bool:
        """Whether attention takes a mask of (tokens × tokens)."""
        return self.form.merged and self.kernel in ("sdpa", "eager")

    def record(self, job: TrainingJob) -> None:
        """Writes what the statistics of the job's artifact say of it."""
        rows = "merged" if self.form.merged else "plain"
        facts = {"rows": rows, "attention": self.kernel, "fallback": self.fallback}
        job.layout_path.write_text(json.dumps(facts), encoding="utf-8")


def choose_layout(
    config: PretrainedConfig, settings: TrainConfig, pairs: Sequence[Pair], place: Place
) -> Layout:
    """Follows ``settings.rows``; with `auto`, rows are merged wherever that is right and every rank has a kernel for
    it. Every rank must call it and gets the same answer.

    The reference pass and training choose each for itself, alike on the same GPUs. Should they differ, the log-probs
    of the two differ by rounding, which `check_first_loss` allows for.

    Raises:
        ConfigError: `rows: merged` for a model of which rows must not be merged, or without a kernel for them.
    """

    def lay_out(*, merged: bool, with_flex: bool, fallback: str | None) -> Layout:
        index = PrefixIndex(pairs) if merged else PlainIndex(pairs)
        budget = RowBudget.of(settings, on_gpu=place.on_gpu, merged=merged)
        row_tokens = max([budget.row_tokens, *(index.trie_tokens([pair]) for pair in range(len(index)))])
        kernel = attention_kernel(config, with_flex=with_flex, merged=merged, row_tokens=row_tokens)
        block = flex.BLOCK if kernel == flex.KERNEL else None
        return Layout(RowForm(merged=merged, block=block), kernel, index, budget, row_tokens, fallback)

    plain = settings.rows == "plain"
    reason = None if plain else why_not_merged(config)
    merged = not plain and reason is None
    with_flex = flex.has_backward(place.device) and wants_flex(config, merged=merged)
    layout = lay_out(merged=merged, with_flex=with_flex, fallback=reason)
    if with_flex and (trouble := _try_flex(config, settings, layout, place)) is not None:
        reason = trouble
        layout = lay_out(merged=False, with_flex=False, fallback=reason)
    if reason is not None and settings.rows == "merged":
        raise ConfigError(
            f"rows = 'merged', but not for this {config.model_type}: {reason}. Set rows to auto or plain"
        )
    if reason is not None and place.is_first:
        log.warning(
            "rows are plain, one sequence each, by %s, for this %s: %s",
            layout.kernel,
            config.model_type,
            reason,
        )
    return layout


def _try_flex(config: PretrainedConfig, settings: TrainConfig, layout: Layout, place: Place) -> str | None:
    """Returns the first rank's reason why FlexAttention cannot compute this layout; None if all ranks can."""
    trouble = flex.why_not_flex(
        layer_shapes(config),
        dtype=DTYPES[settings.precision],
        device=place.device,
        longest=max(layout.row_tokens, layout.budget.micro_batch_tokens),
    )
    return next((f"rank {rank}: {said}" for rank, said in enumerate(gather(place, trouble)) if said), None)
