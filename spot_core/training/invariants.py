"""What must hold for every model that is trained, whatever its family; looked at in every training.

Alone and together: a pair has the same log-probs by itself and in a forward pass with others, the shortest and the
longest among them, and two passes are equal. What breaks it: dropout or noise that is on, positions or rotary
frequencies that depend on the neighbours, attention across sequences.

Saved and trained: the checkpoint has the tensors of the source, by name and shape, and, loaded again, gives the
log-probs that training ended with. What breaks it: tensors that are not saved, adapters that are merged wrongly, a
configuration that says something else.
"""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from spot_core.config.train import TrainConfig
from spot_core.errors import EngineError, InputError
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import Pair
from spot_core.training.rows import RowForm, collate

log = logging.getLogger(__name__)

ROUNDING = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest mean difference per token, in nats, that is put down to rounding."""

_NEAR = 2  # pairs on each side of a boundary


@dataclass(frozen=True)
class Finding:
    """What was measured of an invariant: the largest mean difference per token (nats), over so many pairs."""

    pairs: int
    largest_difference: float

    def record(self, job: TrainingJob, name: str) -> None:
        """Adds it to what the statistics of the job's artifact say."""
        path = job.invariants_path
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(known | {name: asdict(self)}), encoding="utf-8")
        log.info(
            "%s: %d pairs, largest difference %.2g nats per token", name, self.pairs, self.largest_difference
        )


def choose_probes(pairs: Sequence[Pair], boundaries: Sequence[int] = ()) -> list[int]:
    """Returns indexes of the shortest and the longest pair, and of those nearest to each boundary of lengths.

    Args:
        boundaries: sequence lengths in tokens.
    """
    order = sorted(range(len(pairs)), key=lambda index: (pairs[index].longest, pairs[index].key))
    chosen = {order[0], order[-1]}
    for boundary in boundaries:
        below = [index for index in order if pairs[index].longest <= boundary]
        above = [index for index in order if pairs[index].longest > boundary]
        chosen |= {*below[-_NEAR:], *above[:_NEAR]}
    return sorted(chosen)


@torch.no_grad()
def probe(logprobs: nn.Module, pairs: Sequence[Pair], form: RowForm, device: torch.device) -> list[float]:
    """Returns log π of y⁺ and y⁻ of each of ``pairs``, every pair in a pass of its own. All ranks must call it."""
    return [value for pair in pairs for value in logprobs(collate([pair], ((0,),), form).to(device)).tolist()]


@torch.no_grad()
def check_alone_and_together(
    logprobs: nn.Module, pairs: Sequence[Pair], form: RowForm, settings: TrainConfig, device: torch.device
) -> Finding:
    """Checks that each of ``pairs`` has the log-probs in a pass with the others that it has alone, and has them twice.

    All ranks must call it, with the same pairs.

    Raises:
        InputError: it has not: the model cannot be trained so; with the pair.
    """
    alone = probe(logprobs, pairs, form, device)
    shortest = min(range(len(pairs)), key=lambda index: pairs[index].longest)
    again = probe(logprobs, [pairs[shortest]], form, device)
    limit, twice = ROUNDING[settings.precision], alone[2 * shortest : 2 * shortest + 2]
    where = "in two passes over the same tokens"
    _compare([pairs[shortest]], twice, again, limit=limit, where=where, cause="something in it is random")
    # All in one row, and the shortest once more in a row that is padded to that one.
    batch = collate(pairs, (tuple(range(len(pairs))), (shortest,)), form).to(device)
    together = logprobs(batch).tolist()
    where, cause = "alone and in a pass with other pairs", "what it computes depends on the neighbours"
    members = [*pairs, pairs[shortest]]
    largest = _compare(members, [*alone, *twice], together, limit=limit, where=where, cause=cause)
    return Finding(len(pairs), largest)


def check_saved(
    pairs: Sequence[Pair], ended: Sequence[float], saved: Sequence[float], settings: TrainConfig
) -> Finding:
    """Checks that a checkpoint gives the log-probs of ``pairs`` that training ended with.

    Raises:
        EngineError: it does not.
    """
    exact = settings.precision == settings.save_dtype == "fp32"
    try:
        largest = _compare(
            pairs,
            ended,
            saved,
            limit=ROUNDING["fp32" if exact else "bf16"],
            where="at the end of training and from the saved checkpoint",
            cause="the checkpoint is not what was trained, and must not be used",
        )
    except InputError as error:
        raise EngineError(f"saved and trained differ: {error}") from error
    return Finding(len(pairs), largest)


def _compare(
    pairs: Sequence[Pair],
    one: Sequence[float],
    other: Sequence[float],
    *,
    limit: float,
    where: str,
    cause: str,
) -> float:
    """Returns the largest difference per token; ``one`` and ``other`` have y⁺ and y⁻ of each pair in turn."""
    largest = 0.0
    tokens = [len(ids) for pair in pairs for ids in (pair.chosen, pair.rejected)]
    for number, (a, b, count) in enumerate(zip(one, other, tokens, strict=True)):
        difference = abs(a - b) / count
        if not difference <= limit:  # also NaN
            pair = pairs[number // 2]
            who = f"question_id {pair.question_id}, sample {pair.sample}: this model gives {'y⁻' if number % 2 else 'y⁺'}"
            if not math.isfinite(a):
                raise InputError(
                    f"{who} the log-prob {a}: look for NaN or infinity in its weights, or set precision to fp32"
                )
            raise InputError(
                f"{who} of {count} tokens the log-probs {a:.4f} and {b:.4f} {where} ({difference:.2g} nats per token, at most "
                f"{limit:g} is rounding): {cause}"
            )
        largest = max(largest, difference)
    return largest
