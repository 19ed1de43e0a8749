"""The independent implementation that training is compared with: two padded sequences a pair, the model's own
logits, a loop of a few lines, float64. It shares no code with `spot_core.training` but the plan's order of pairs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from spot_core.config.train import TrainConfig
from spot_core.training.pairs import Pair


class Float64(TorchFunctionMode):
    """Makes float64 of what models compute in float32 whatever their weights are: norms, rotary angles, softmax."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if function is Tensor.float:
            function = Tensor.double
        args = [_widened(value) for value in args]
        return function(*args, **{name: _widened(value) for name, value in (kwargs or {}).items()})


def _widened(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def padded_logprobs(model: PreTrainedModel, pairs: Sequence[Pair]) -> Tensor:
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


def plain_loss(
    settings: TrainConfig, logprobs: Tensor, reference: Tensor, tokens: Tensor, delta: float = 0.0
) -> Tensor:
    """The loss of one optimizer step. ``logprobs`` and ``reference`` are (pairs, [y⁺, y⁻]); ``tokens`` of y⁺."""
    chosen, rejected = (settings.beta * (logprobs - reference)).unbind(-1)
    match settings.objective:
        case "sft" if settings.sft_mean == "tokens":
            return -logprobs[:, 0].sum() / tokens.sum()
        case "sft":
            return (-logprobs[:, 0] / tokens).mean()
        case "reward_sft":
            return -logsigmoid(chosen).mean()
        case "dpo":
            return -logsigmoid(chosen - rejected).mean()
        case "spot_bce":
            return (-logsigmoid(chosen) - logsigmoid(-rejected)).mean()
        case "spot_bco":
            return (-logsigmoid(chosen - delta) - logsigmoid(delta - rejected)).mean()


def plain_training(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    settings: TrainConfig,
    steps: Sequence[Sequence[int]],
    learning_rates: Sequence[float],
) -> list[dict[str, float]]:
    """Trains ``model`` (float64) in place on the pairs of each step; returns a row of figures per step."""
    reference = torch.cat([padded_logprobs(model, [pair]).detach() for pair in pairs])
    matrices, vectors = ([p for p in model.parameters() if (p.ndim >= 2) == many] for many in (True, False))
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], betas=settings.betas)
    rows: list[dict[str, float]] = []
    means: list[float] = []  # ½(r⁺ + r⁻) of every pair of earlier steps
    delta = 0.0
    for step, rate in zip(steps, learning_rates, strict=True):
        members = [pairs[index] for index in step]
        tokens = torch.tensor([len(pair.chosen) for pair in members])
        logprobs = padded_logprobs(model, members)
        loss = plain_loss(settings, logprobs, reference[list(step)], tokens, delta)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()

        logratios = (logprobs - reference[list(step)]).detach()
        chosen, rejected = (settings.beta * logratios).unbind(-1)
        rows.append(
            {
                "loss": loss.item(),
                "grad_norm": norm.item(),
                "reward_chosen": chosen.mean().item(),
                "reward_rejected": rejected.mean().item(),
                "margin": (chosen - rejected).mean().item(),
                "accuracy": (chosen > rejected).double().mean().item(),
                "kl": -logratios[:, 1].sum().item() / sum(len(pair.rejected) for pair in members),
                "delta": delta,
            }
        )
        of_step = (0.5 * (chosen + rejected)).tolist()
        means += of_step
        if settings.delta == "ema":
            decay = settings.ema_decay
            delta = decay * delta + (1 - decay) * sum(of_step) / len(of_step)
        else:
            delta = sum(means) / len(means)
    return rows
