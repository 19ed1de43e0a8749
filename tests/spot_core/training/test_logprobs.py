"""Merged and plain rows against an independent implementation: padded sequences and the model's own logits, float64."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from spot_core.config.train import TrainConfig
from spot_core.demo import STUDENT_PATH
from spot_core.training.activations import set_checkpointing
from spot_core.training.logprobs import LogitBudget, SequenceLogProbs
from spot_core.training.objectives import loss_denominator, reward_losses, sft_losses
from spot_core.training.pairs import Pair
from spot_core.training.plan import RowBudget, plan_reference
from spot_core.training.prefixes import PrefixIndex
from spot_core.training.rows import RowForm, collate
from tests.spot_core.training.demo_pairs import demo_pairs
from tests.spot_core.training.models import GEOMETRIES, UNUSUAL, tiny_model
from tests.spot_core.training.plain import Float64, padded_logprobs, plain_loss
from tests.spot_core.training.synthetic import random_pairs

STUDENT = "demo-student"
KINDS = [STUDENT, *GEOMETRIES, *UNUSUAL]
DELTA = 0.3
MERGED, PLAIN = RowForm(), RowForm(merged=False)
OBJECTIVES = ["spot_bce", "spot_bco", "dpo", "reward_sft", "sft"]


def merged_logprobs(
    model: PreTrainedModel,
    pairs: list[Pair],
    logits_per_chunk: int = 61 * 10,
    form: RowForm = MERGED,
    *,
    logits_kept: int = 0,
) -> Tensor:
    """(pairs, [y⁺, y⁻]) from rows of several pairs in several micro-batches, merged unless ``form`` says plain."""
    module = SequenceLogProbs(model, LogitBudget(per_chunk=logits_per_chunk, kept=logits_kept))
    longest = max(pair.longest for pair in pairs)
    plan = plan_reference(PrefixIndex(pairs), world_size=1, budget=RowBudget(2 * longest, 4 * longest))
    assert len(plan.micro_batches[0]) > 1 and all(map(len, plan.micro_batches[0]))
    values: dict[int, Tensor] = {}
    for batch in plan.micro_batches[0]:
        rows = module(collate(pairs, batch, form)).view(-1, 2)
        values |= dict(zip([pair for row in batch for pair in row], rows, strict=True))
    return torch.stack([values[index] for index in range(len(pairs))])


def our_loss(settings: TrainConfig, logprobs: Tensor, reference: Tensor, tokens: Tensor) -> Tensor:
    if settings.objective == "sft":
        losses = sft_losses(logprobs[:, 0], tokens, settings.sft_mean)
    else:
        rewards = (settings.beta * (logprobs - reference)).unbind(-1)
        losses = reward_losses(settings.objective, *rewards, DELTA)
    return losses.sum() / loss_denominator(settings, len(logprobs), int(tokens.sum()))


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def relative_errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """max |g − g_exact| / max |g_exact| of each parameter tensor."""
    assert set(found) == set(exact)
    return {
        name: ((found[name].double() - gradient).abs().max() / gradient.abs().max()).item()
        for name, gradient in exact.items()
    }


@cache
def case(kind: str) -> tuple[list[Pair], Tensor, TrainConfig]:
    """Pairs, log π_ref away from log π_θ so that no reward is 0, and the β of the demo or of the tests."""
    pairs = demo_pairs(24) if kind == STUDENT else random_pairs(24, shared_prompt=6)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad(), Float64():
        reference = padded_logprobs(build(kind, torch.float64), pairs)
    reference += torch.randn(reference.shape, generator=noise, dtype=torch.float64)
    return pairs, reference, TrainConfig(beta=0.5)


def build(kind: str, dtype: torch.dtype) -> PreTrainedModel:
    if kind == STUDENT:
        return AutoModelForCausalLM.from_pretrained(STUDENT_PATH, dtype=dtype)
    return tiny_model(kind, dtype)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_padded_sequences(kind: str, objective: str) -> None:
    pairs, reference, config = case(kind)
    config = config.model_copy(update={"objective": objective})
    tokens = torch.tensor([len(pair.chosen) for pair in pairs])

    plain, ours = (build(kind, torch.float32) for _ in range(2))
    exact, merged, alone = (build(kind, torch.float64) for _ in range(3))

    def errors(model: PreTrainedModel, loss: Tensor) -> dict[str, float]:
        exactly = 1e-12 if model.dtype is torch.float64 else 1e-5
        assert loss.item() == pytest.approx(expected_loss.item(), rel=exactly)
        return relative_errors(gradients(model, loss), expected)

    with Float64():
        expected_loss = plain_loss(config, padded_logprobs(exact, pairs), reference, tokens, DELTA)
        expected = gradients(exact, expected_loss)
        of_merging = errors(merged, our_loss(config, merged_logprobs(merged, pairs), reference, tokens))
        by_row = merged_logprobs(alone, pairs, form=PLAIN)
        of_plain_rows = errors(alone, our_loss(config, by_row, reference, tokens))
    of_ours = errors(ours, our_loss(config, merged_logprobs(ours, pairs), reference, tokens))
    of_fp32 = errors(plain, plain_loss(config, padded_logprobs(plain, pairs), reference, tokens, DELTA))
    worst, padded_worst, merging_worst = (max(found.values()) for found in (of_ours, of_fp32, of_merging))
    print(
        f"{kind} {objective}: {worst:.1e} (padded in fp32 {padded_worst:.1e}, merged in fp64 {merging_worst:.0e})"
    )
    assert merging_worst < 1e-12 and max(of_plain_rows.values()) < 1e-12
    # The student is trained: its gradients are small sums of large terms, and lose about 8e-6 in fp32 however
    # they are computed. Where a machine's kernels lose more, what padded sequences lose is the measure.
    assert worst <= max(1e-5, 1.5 * padded_worst)


# Few tokens and short sequences: one response begins another, pairs are the same, y⁺ equals y⁻, and what is prompt
# in one pair is response in the next.
ids = st.lists(st.integers(0, 2), min_size=1, max_size=4)
triples = st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(triples, st.integers(1, 3))
@example([([0], [1, 2], [1, 2, 0])], 1)  # y⁻ begins y⁺
@example([([0], [1, 2], [1, 2])], 1)  # y⁺ = y⁻
@example([([0, 1], [2, 2], [2, 0])] * 3, 1)  # the same pair three times in one row
@example(
    [([0], [1, 2, 0], [1, 2, 1]), ([0, 1], [2, 0], [0]), ([0, 1, 2], [0], [1, 1])], 1
)  # an edge of two kinds
def test_any_forest_of_pairs_has_the_logprobs_and_gradients_of_its_sequences(
    parts: list[tuple[list[int], list[int], list[int]]], rows: int
) -> None:
    pairs = [
        Pair(f"q{i}", 0, *(np.array(ids, dtype=np.int32) for ids in triple)) for i, triple in enumerate(parts)
    ]
    dealt = [tuple(range(len(pairs)))[row::rows] for row in range(rows)]
    batch = tuple(row for row in dealt if row)
    members = [pairs[index] for row in batch for index in row]
    model = tiny_model("llama", vocab_size=3, hidden_size=16, intermediate_size=16)
    # no two sequences weigh alike, so that a gradient on the wrong one shows
    weights = 1.0 + torch.arange(2 * len(members), dtype=torch.float64).view(-1, 2)
    with Float64():
        merged, padded = (
            SequenceLogProbs(model)(collate(pairs, batch)).view(-1, 2),
            padded_logprobs(model, members),
        )
        torch.testing.assert_close(merged, padded, rtol=1e-12, atol=1e-11)
        found, expected = (gradients(model, (weights * values).sum()) for values in (merged, padded))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["qwen3", "gemma2"])
def test_chunks_do_not_change_values_or_gradients(kind: str) -> None:
    model, pairs = tiny_model(kind), random_pairs(6)
    whole = merged_logprobs(model, pairs, logits_per_chunk=10**9)
    expected = gradients(model, whole.sum())
    chunked = merged_logprobs(model, pairs, logits_per_chunk=61 * 7)
    found = gradients(model, chunked.sum())
    torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=1e-6)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_gradient_checkpointing_does_not_change_gradients(checkpointing: str) -> None:
    model, pairs = tiny_model("qwen3"), random_pairs(6)
    expected = gradients(model, merged_logprobs(model, pairs).sum())
    set_checkpointing(model, checkpointing)
    found = gradients(model, merged_logprobs(model, pairs).sum())
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_an_empty_micro_batch_gives_a_zero_gradient_to_every_weight() -> None:
    model = tiny_model("llama")
    found = gradients(model, SequenceLogProbs(model)(collate([], ())).sum())
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert all(not gradient.any() for gradient in found.values())
