"""What is checked before and while the optimizer runs; each failure is a diagnosis with its remedy."""

import logging
import math
from collections.abc import Sequence

import torch

from spot_core.config.train import TrainConfig
from spot_core.errors import EngineError
from spot_core.geometry import Geometry
from spot_core.training import objectives
from spot_core.training.device import Place, free_room, load_config
from spot_core.training.job import TrainingJob
from spot_core.training.layout import Layout
from spot_core.training.pairs import Pair, Reference
from spot_core.training.plan import Step
from spot_core.training.preflight import MemoryEstimate, check_fits, estimate_memory

# How far the first loss may be from its value at r = 0: rounding differs between packings, in bf16 visibly.
START_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}

log = logging.getLogger(__name__)


def check_memory(job: TrainingJob, place: Place, plan: Sequence[Step], layout: Layout) -> MemoryEstimate:
    """Returns what this rank will need; raises ConfigError if its largest micro-batch will not fit."""
    batches = [batch for step in plan for batch in step.micro_batches[place.rank] if batch]
    sizes = [[layout.index.trie_tokens(row) for row in batch] for batch in batches] or [[1]]
    model = Geometry.of(load_config(job), trust_remote_code=job.trust_remote_code)
    row_tokens = max(max(rows) for rows in sizes)
    micro_batch_tokens = max(len(rows) * max(rows) for rows in sizes)

    def estimate_for(settings: TrainConfig) -> MemoryEstimate:
        limit = micro_batch_tokens
        if settings.micro_batch_tokens != job.settings.micro_batch_tokens:
            limit = max(row_tokens, settings.micro_batch_tokens or 0)
        return estimate_memory(
            model,
            settings,
            row_tokens=row_tokens,
            micro_batch_tokens=min(micro_batch_tokens, limit),
            on_gpu=place.on_gpu,
            dense_mask=layout.has_dense_mask,
        )

    estimate = check_fits(estimate_for, job.settings, free_room(place))
    if place.is_first:
        log.info("estimated memory: %s", estimate)
    return estimate


def check_loss(step: int, loss: float, settings: TrainConfig) -> None:
    """Raises EngineError if the loss of an optimizer step is NaN or infinite."""
    if not math.isfinite(loss):
        raise EngineError(
            f"the loss of step {step} is {loss}: lower learning_rate (now {settings.learning_rate:g}), "
            "set precision to fp32, or look for NaN in the model's weights"
        )


def check_grad_norm(step: int, grad_norm: float, settings: TrainConfig) -> None:
    """Raises EngineError if the gradient norm of an optimizer step is NaN or infinite."""
    if not math.isfinite(grad_norm):
        raise EngineError(
            f"the gradient norm of step {step} is {grad_norm}: lower learning_rate "
            f"(now {settings.learning_rate:g}) or set precision to fp32"
        )


def check_first_loss(
    loss: float, settings: TrainConfig, pairs: Sequence[Pair], reference: Sequence[Reference]
) -> None:
    """Raises EngineError if the first step's loss over its ``pairs`` is not that of π_θ = π_ref."""
    expected = loss_at_start(settings, pairs, reference)
    tolerance = START_TOLERANCE[settings.precision]
    if abs(loss - expected) > tolerance:
        raise EngineError(
            f"the first loss is {loss:.6f}, but {settings.objective} at r = 0 gives {expected:.6f} "
            f"(tolerance {tolerance:g}): the reference log-probs are not this model's. Compute them again with "
            "the model, precision and pairs of this job"
        )


def loss_at_start(settings: TrainConfig, pairs: Sequence[Pair], reference: Sequence[Reference]) -> float:
    """The loss of an optimizer step over these ``pairs`` if π_θ = π_ref exactly."""
    if settings.objective != "sft":
        return objectives.value_at_start(settings.objective)
    logprobs = torch.tensor([of_pair.chosen_logprob for of_pair in reference], dtype=torch.float64)
    tokens = torch.tensor([len(pair.chosen) for pair in pairs])
    losses = objectives.sft_losses(logprobs, tokens, settings.sft_mean)
    return losses.sum().item() / objectives.loss_denominator(settings, len(pairs), int(tokens.sum()))
