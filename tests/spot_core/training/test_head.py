"""Token log-probs from hidden states, against cross entropy over all logits at once."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from spot_core.training.logprobs import LogitBudget, LogitTransform, OutputLayer

VOCABULARY, WIDTH, TOKENS = 53, 12, 31
TRANSFORMS = {
    "plain": {},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 8.0},
    "gemma": {"final_logit_softcapping": 2.0},
    "capped and scaled": {"logit_scale": 3.0, "final_logit_softcapping": 2.0},
}
BUDGETS = {
    "kept": LogitBudget(per_chunk=7 * VOCABULARY, kept=10**6),
    "made again": LogitBudget(per_chunk=7 * VOCABULARY, kept=0),
    "one chunk": LogitBudget(per_chunk=10**6, kept=0),
}


def problem(*, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias, dtype=dtype)
    hidden = torch.randn(TOKENS, WIDTH, dtype=dtype, requires_grad=True)
    tokens = torch.randint(0, VOCABULARY, (TOKENS,))
    return head, hidden, tokens, torch.randn(TOKENS, dtype=torch.promote_types(dtype, torch.float32))


def plain(head: nn.Linear, hidden: Tensor, tokens: Tensor, config: dict[str, float]) -> Tensor:
    logits = head(hidden).double() * config.get("logit_scale", 1.0) / config.get("logits_scaling", 1.0)
    cap = config.get("final_logit_softcapping")
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    return logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize("config", TRANSFORMS.values(), ids=TRANSFORMS)
def test_values_and_gradients_are_those_of_cross_entropy_over_all_logits(config, budget, bias) -> None:
    head, hidden, tokens, weights = problem(bias=bias)
    inputs = [hidden, *head.parameters()]
    expected = plain(head, hidden, tokens, config)
    gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    found = OutputLayer(head, LogitTransform.of(SimpleNamespace(**config)), budget)(hidden, tokens)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(torch.autograd.grad((found * weights).sum(), inputs), gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_frozen_head_gets_no_gradient_and_hidden_states_the_same() -> None:
    head, hidden, tokens, weights = problem(bias=False)
    expected = torch.autograd.grad((plain(head, hidden, tokens, {}) * weights).sum(), hidden)
    head.requires_grad_(False)
    found = OutputLayer(head, LogitTransform(), BUDGETS["made again"])(hidden, tokens)
    (found * weights).sum().backward()
    torch.testing.assert_close(hidden.grad, expected[0])
    assert head.weight.grad is None


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_bf16_gradients_are_as_near_to_exact_ones_as_rounding_allows(budget) -> None:
    head, hidden, tokens, weights = problem(bias=False, dtype=torch.bfloat16)
    exact_head = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=torch.float64)
    exact_head.load_state_dict(head.state_dict())
    exact = hidden.detach().double().requires_grad_()
    inputs = [exact, exact_head.weight]
    expected = torch.autograd.grad((plain(exact_head, exact, tokens, {}) * weights).sum(), inputs)
    found = OutputLayer(head, LogitTransform(), budget)(hidden, tokens)
    assert found.dtype == torch.float32
    gradients = torch.autograd.grad((found * weights).sum(), [hidden, head.weight])
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours.double() - theirs).abs().max() < 2e-2 * theirs.abs().max()


def test_no_token_gives_no_logprob_but_a_gradient_of_zeros() -> None:
    head, hidden, _, _ = problem(bias=True)
    none = torch.zeros(0, dtype=torch.long)
    OutputLayer(head, LogitTransform(), LogitBudget())(hidden[:0], none).sum().backward()
    assert not hidden.grad.any() and not head.weight.grad.any() and not head.bias.grad.any()
