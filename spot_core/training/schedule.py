"""The learning rate as a pure function of the step, so that a resume needs no scheduler state."""

import math

from spot_core.config.train import TrainConfig


def learning_rate(settings: TrainConfig, step: int, steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0) of ``steps``: linear warm-up, then the scheduler's course.

    The warm-up begins at 1/warm-up steps of the peak, not at 0: no step is without effect.
    """
    warmup = math.ceil(settings.warmup_ratio * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    match settings.scheduler:
        case "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * progress))
        case "linear":
            factor = 1.0 - progress
        case "constant":
            factor = 1.0
    return settings.learning_rate * factor
