"""Merged rows against an independent implementation: padded sequences and the model's own logits, float64."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from spot_core.config.train import TrainConfig
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.objectives import loss_denominator, reward_losses, sft_losses
from spot_core.training.pairs import Pair
from spot_core.training.plan import RowBudget, plan_reference
from spot_core.training.prefixes import PrefixIndex
from spot_core.training.rows import collate
from tests.spot_core.training.models import GEOMETRIES, tiny_model
from tests.spot_core.training.synthetic import random_pairs

BETA, DELTA = 0.5, 0.3


def padded_logprobs(model: PreTrainedModel, pairs: list[Pair]) -> Tensor:
    """(pairs, [y⁺, y⁻]) from two right-padded sequences a pair."""
    sequences = [s for pair in pairs for s in (pair.chosen_sequence, pair.rejected_sequence)]
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    response = torch.zeros(ids.shape)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence)
        mask[row, : len(sequence)] = 1
        response[row, len(pairs[row // 2].prompt) : len(sequence)] = 1
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    by_token = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0] * response[:, 1:]
    return by_token.sum(-1).view(-1, 2)


def merged_logprobs(model: PreTrainedModel, pairs: list[Pair], logits_per_chunk: int = 61 * 10) -> Tensor:
    """The same, from rows of several merged pairs in several micro-batches."""
    module = SequenceLogProbs(model, logits_per_chunk)
    plan = plan_reference(PrefixIndex(pairs), world_size=1, budget=RowBudget(80, 240))
    values: dict[int, Tensor] = {}
    for batch in plan.micro_batches[0]:
        rows = module(collate(pairs, batch)).view(-1, 2)
        values |= dict(zip([pair for row in batch for pair in row], rows, strict=True))
    return torch.stack([values[index] for index in range(len(pairs))])


def plain_loss(objective: str, logprobs: Tensor, reference: Tensor, tokens: Tensor) -> Tensor:
    chosen, rejected = (BETA * (logprobs - reference)).unbind(-1)
    return {
        "sft": (-logprobs[:, 0] / tokens).mean(),
        "reward_sft": -logsigmoid(chosen).mean(),
        "dpo": -logsigmoid(chosen - rejected).mean(),
        "spot_bce": (-logsigmoid(chosen) - logsigmoid(-rejected)).mean(),
        "spot_bco": (-logsigmoid(chosen - DELTA) - logsigmoid(DELTA - rejected)).mean(),
    }[objective]


def our_loss(objective: str, logprobs: Tensor, reference: Tensor, tokens: Tensor) -> Tensor:
    settings = TrainConfig(objective=objective, beta=BETA)
    if objective == "sft":
        losses = sft_losses(logprobs[:, 0], tokens, settings.sft_mean)
    else:
        losses = reward_losses(objective, *(BETA * (logprobs - reference)).unbind(-1), DELTA)
    return losses.sum() / loss_denominator(settings, len(logprobs), int(tokens.sum()))


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_merged_rows_give_the_logprobs_of_padded_sequences(kind: str) -> None:
    model, pairs = tiny_model(kind), random_pairs(12, shared_prompt=6)
    with torch.no_grad():
        torch.testing.assert_close(
            merged_logprobs(model, pairs), padded_logprobs(model, pairs), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("objective", ["spot_bce", "spot_bco", "dpo", "reward_sft", "sft"])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_losses_and_gradients_are_those_of_padded_sequences(kind: str, objective: str) -> None:
    pairs = random_pairs(10)
    tokens = torch.tensor([len(pair.chosen) for pair in pairs])
    exact, ours = tiny_model(kind), tiny_model(kind, torch.float32)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        reference = padded_logprobs(exact, pairs)
        reference += torch.randn(reference.shape, generator=noise, dtype=torch.float64)

    expected_loss = plain_loss(objective, padded_logprobs(exact, pairs), reference, tokens)
    expected = gradients(exact, expected_loss)
    loss = our_loss(objective, merged_logprobs(ours, pairs), reference, tokens)
    found = gradients(ours, loss)

    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5)
    for name, gradient in expected.items():
        error = (found[name].double() - gradient).abs().max() / gradient.abs().max()
        assert error < 1e-5, f"{name}: {error:.1e}"


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


def test_gradient_checkpointing_does_not_change_gradients() -> None:
    model, pairs = tiny_model("qwen3"), random_pairs(6)
    expected = gradients(model, merged_logprobs(model, pairs).sum())
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = gradients(model, merged_logprobs(model, pairs).sum())
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_an_empty_micro_batch_gives_a_zero_gradient_to_every_weight() -> None:
    model = tiny_model("llama")
    found = gradients(model, SequenceLogProbs(model)(collate([], ())).sum())
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert all(not gradient.any() for gradient in found.values())
