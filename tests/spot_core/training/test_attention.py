"""Masks of token tries: dense, by blocks, and as a model with FlexAttention uses them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PretrainedConfig

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training import flex
from spot_core.training.attention import (
    additive,
    attention_kernel,
    model_masks,
    trie_mask,
    why_not_merged,
)
from spot_core.training.device import Place
from spot_core.training.layout import choose_layout
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.prefixes import build_trie
from spot_core.training.rows import RowForm, collate
from spot_core.training.segments import KERNEL, cut
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs

HERE = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")


def rows_of_tries(seed: int, blocks: int, tokens: int) -> tuple[Tensor, Tensor]:
    """(end, depth), (2, blocks × 128) each: tries of random sequences, the rest padding."""
    rng = np.random.default_rng(seed)
    length = blocks * flex.BLOCK
    end = np.broadcast_to(np.arange(1, length + 1), (2, length)).copy()
    depth = np.zeros((2, length), dtype=np.int64)
    for row in range(2):
        stem = rng.integers(0, 50, rng.integers(1, tokens))
        sequences = [
            np.concatenate(
                [stem[: rng.integers(1, len(stem) + 1)], rng.integers(0, 50, rng.integers(1, tokens))]
            )
            for _ in range(4)
        ]
        trie = build_trie(sequences, [1] * 4)
        size = min(len(trie.tokens), length)
        end[row, :size], depth[row, :size] = np.minimum(trie.end[:size], size), trie.depth[:size]
    return torch.from_numpy(end), torch.from_numpy(depth)


@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gemma2"])
def test_plain_rows_give_the_logprobs_of_merged_ones(kind: str) -> None:
    model, pairs = tiny_model(kind), random_pairs(9)
    batch = ((0, 1, 2), (3,), (4, 5, 6, 7, 8))
    with torch.no_grad():
        merged = SequenceLogProbs(model)(collate(pairs, batch))
        plain = SequenceLogProbs(model)(collate(pairs, batch, RowForm(merged=False)))
    torch.testing.assert_close(plain, merged, rtol=1e-6, atol=1e-6)


def test_attention_scores_that_are_capped_are_computed_by_the_model_itself() -> None:
    capped = tiny_model("gemma2")
    capped.config.attn_logit_softcapping = 2.0
    assert attention_kernel(capped.config, with_flex=False, merged=True, row_tokens=256) == "eager"
    assert attention_kernel(capped.config, with_flex=True, merged=True, row_tokens=256) == flex.KERNEL
    assert (
        attention_kernel(tiny_model("llama").config, with_flex=False, merged=True, row_tokens=256) == "sdpa"
    )


def test_long_rows_are_cut_into_segments_where_no_layer_has_a_window() -> None:
    for kind, kernel in (("llama", KERNEL), ("mistral", "sdpa"), ("gemma2", "sdpa")):
        assert (
            attention_kernel(tiny_model(kind).config, with_flex=False, merged=True, row_tokens=900) == kernel
        )


def test_capped_scores_are_the_same_in_merged_and_plain_rows() -> None:
    model = tiny_model("gemma2", torch.float32)  # eager attention is NaN in padding of float64
    model.set_attn_implementation("eager")
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = 2.0
    pairs = random_pairs(6)
    with torch.no_grad():
        merged = SequenceLogProbs(model)(collate(pairs, ((0, 1, 2, 3, 4, 5),)))
        plain = SequenceLogProbs(model)(collate(pairs, ((0, 1, 2, 3, 4, 5),), RowForm(merged=False)))
    torch.testing.assert_close(merged, plain, rtol=1e-5, atol=1e-5)


def test_sliding_and_full_layers_have_masks_of_their_own() -> None:
    end, depth = rows_of_tries(seed=2, blocks=1, tokens=30)
    config = tiny_model("gemma2").config
    masks = model_masks(config, end, depth, torch.float32)
    assert torch.equal(masks["full_attention"], additive(trie_mask(end, depth), torch.float32))
    assert torch.equal(masks["sliding_attention"], additive(trie_mask(end, depth, 5), torch.float32))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"layer_types": ["linear_attention", "full_attention"]}, "linear_attention layers carry state"),
        ({"mamba_d_state": 16}, "mamba_d_state"),
        ({"alibi": True}, "ALiBi"),
        ({"num_local_experts": 8}, "experts"),
    ],
)
def test_models_that_merged_rows_would_be_wrong_for_get_plain_ones_or_a_refusal(
    config, reason, caplog
) -> None:
    strange = PretrainedConfig(**config)
    assert reason in why_not_merged(strange)
    layout = choose_layout(strange, TrainConfig(), random_pairs(3), HERE)
    assert not layout.form.merged and reason in caplog.text
    with pytest.raises(ConfigError, match="Set rows to auto or plain"):
        choose_layout(strange, TrainConfig(rows="merged"), random_pairs(3), HERE)


@given(seed=st.integers(0, 10**6), longest=st.sampled_from([1, 3, 16, 128]))
@settings(max_examples=40, deadline=None)
def test_segments_tile_a_row_and_see_exactly_what_the_mask_allows(seed: int, longest: int) -> None:
    end, depth = rows_of_tries(seed, blocks=2, tokens=60)
    for row in range(2):
        parts = cut(end[row].numpy(), longest)
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == end.shape[1] and all(part.stop - part.start <= longest for part in parts)
        dense = trie_mask(end[row : row + 1], depth[row : row + 1])[0, 0]
        for part in parts:
            queries = dense[part.start : part.stop].clone()
            for number in part.ancestors:
                ancestor = parts[number]
                assert queries[:, ancestor.start : ancestor.stop].all()
                queries[:, ancestor.start : ancestor.stop] = False
            queries[:, part.start : part.stop] = False
            assert not queries.any()


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_segmented_attention_gives_the_logprobs_and_gradients_of_dense_attention(kind: str) -> None:
    pairs = random_pairs(60, shared_prompt=140)
    batch = (tuple(range(40)), tuple(range(40, 60)))
    found = []
    for kernel in ("sdpa", KERNEL):
        model = tiny_model(kind)
        model.set_attn_implementation(kernel)
        logprobs = SequenceLogProbs(model)(collate(pairs, batch))
        logprobs.sum().backward()
        found.append((logprobs.detach(), {name: p.grad for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)
