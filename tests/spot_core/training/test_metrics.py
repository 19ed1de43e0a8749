"""FLOPs against PyTorch's own counter, which sees every matrix product that is done."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spot_core.config.train import LoraConfig
from spot_core.training.adapters import add_adapters
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.metrics import ModelFlops
from spot_core.training.rows import RowBatch, collate
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs

PAIRS = random_pairs(5, shared_prompt=9)


def eager(kind: str) -> PreTrainedModel:
    """A model whose attention is plain matrix products, all of which the counter sees."""
    return AutoModelForCausalLM.from_config(tiny_model(kind).config, attn_implementation="eager")


def counted(model: PreTrainedModel, batch: RowBatch) -> int:
    """FLOPs done, masked attention and padding included."""
    in_place = {torch.ops.aten.addmm_: _addmm}  # which the counter knows out of place only
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        SequenceLogProbs(model)(batch).sum().backward()
    return counter.get_total_flops()


def _addmm(_total: tuple[int, int], left: tuple[int, int], right: tuple[int, int], **_others: object) -> int:
    return 2 * left[0] * left[1] * right[1]


def masked(flops: ModelFlops, batch: RowBatch) -> int:
    """What dense attention does beside what is needed: rows attend to all of themselves."""
    rows, length = batch.input_ids.shape
    needed = int((batch.position_ids + 1).sum())
    return sum(flops.per_attended) * (rows * length**2 - needed)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("row", [(0,), (0, 1, 2, 3, 4)])
def test_a_row_needs_what_is_done_less_masked_attention(kind: str, row: tuple[int, ...]) -> None:
    model, batch = eager(kind), collate(PAIRS, (row,))
    flops = ModelFlops.of(model)
    assert flops is not None
    assert flops.count(batch) + masked(flops, batch) == counted(model, batch)


def test_padding_and_recomputation_earn_nothing() -> None:
    model = eager("llama")
    flops = ModelFlops.of(model)
    assert flops is not None
    together, alone = collate(PAIRS, ((0, 1, 2), (3,))), [collate(PAIRS, (row,)) for row in ((0, 1, 2), (3,))]
    assert together.input_ids.numel() > together.tokens
    assert flops.count(together) == sum(flops.count(batch) for batch in alone)
    once = counted(model, together)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert counted(model, together) > 1.2 * once


def test_a_shared_prefix_is_counted_once() -> None:
    flops = ModelFlops.of(eager("llama"))
    assert flops is not None
    pairs = random_pairs(5, shared_prompt=60)
    merged = flops.count(collate(pairs, ((0, 1, 2, 3, 4),)))
    assert merged < 0.5 * sum(flops.count(collate(pairs, ((pair,),))) for pair in range(5))


def test_frozen_weights_need_no_gradient_of_their_own() -> None:
    model = eager("llama")
    batch = collate(PAIRS, ((0, 1, 2, 3, 4),))
    add_adapters(model, LoraConfig(rank=4), seed=0)
    flops = ModelFlops.of(model)
    assert flops is not None
    # The first layer's inputs are frozen embeddings: their gradient is not needed, and we do not look so closely.
    config, rank = model.config, 4
    width = config.num_attention_heads * config.head_dim + 2 * config.num_key_value_heads * config.head_dim
    first = 2 * batch.tokens * (config.hidden_size * width + 3 * config.hidden_size * rank)
    assert flops.count(batch) + masked(flops, batch) - first == counted(model, batch)


def test_a_sliding_window_bounds_what_is_attended_to() -> None:
    model, batch = tiny_model("mistral"), collate(PAIRS, ((0,),))
    flops = ModelFlops.of(model)
    assert flops is not None
    assert set(flops.windows) == {5}
    attended = sum(min(depth + 1, 5) for depth in batch.position_ids[0].tolist())
    rest = batch.tokens * flops.per_token + len(batch.edge_token) * flops.per_prediction
    assert flops.count(batch) == rest + 2 * 12 * 32 * attended


def test_experts_are_not_guessed_at() -> None:
    config = AutoConfig.for_model(
        "mixtral",
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_local_experts=2,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert ModelFlops.of(model) is None
