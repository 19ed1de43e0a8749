"""What must hold for every model that is trained, whatever its family; looked at in every training.

Alone and together: a pair has the same log-probs by itself and in a forward pass with others, the shortest and the
longest among them, and two passes are equal. What breaks it: dropout or noise that is on, positions or rotary
frequencies that depend on the neighbours, attention across sequences.

Saved and trained: the checkpoint has the tensors of the source, by name and shape; loaded again, it has the weights
that training ended with, bit for bit (but where adapters were merged), and gives the log-probs that training ended with,
as far as weights were not rounded on the way. What breaks it: tensors that are not saved, or of another step, adapters that
are merged wrongly, a configuration that says something else.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from spot_core.config.train import TrainConfig
from spot_core.errors import EngineError, InputError
from spot_core.training.adapters import Update, plain_name, read_updates, shares_of_updates
from spot_core.training.device import DTYPES
from spot_core.training.export import differences
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import Pair
from spot_core.training.rows import RowBatch, RowForm, collate
from spot_core.training.weights import checksums

log = logging.getLogger(__name__)

ROUNDING = {"fp32": (1e-4, 0.0), "bf16": (2e-2, 0.4)}
"""What is put down to rounding by another order of operations, in nats: of each of n tokens, and of √n: a short response
has no other tokens in which errors would cancel out."""
REPEATED = {"fp32": (1e-4, 0.0), "bf16": (5e-3, 0.05)}
"""The same, where the same operations are done again: nothing differs on a CPU, and hardly anything on a GPU."""
LOST_SHARE = 0.25
"""Of the change of log-probs: a checkpoint that lacks more of it is worth a warning."""
UPDATE_TOLERANCE = 0.05
"""How far the share of an adapter's update that a weight has may be from what rounding leaves."""

_NEAR = 2  # pairs on each side of a boundary
_CERTAIN = 4  # standard errors


@dataclass(frozen=True)
class Finding:
    """What was measured of an invariant: the largest mean difference per token (nats), over so many pairs."""

    pairs: int
    largest_difference: float
    share_of_change: float | None = None
    """How much of the change of log-probs that training made a checkpoint has, 1 being all; None: there was none."""

    def record(self, job: TrainingJob, name: str) -> None:
        """Adds it to what the statistics of the job's artifact say."""
        path = job.invariants_path
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(known | {name: asdict(self)}), encoding="utf-8")
        log.info(
            "%s: %d pairs, largest difference %.2g nats per token", name, self.pairs, self.largest_difference
        )
        if self.share_of_change is not None:
            log.info("%s: %.3g %% of the change of log-probs", name, 100 * self.share_of_change)


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
def probe(logprobs: nn.Module, pairs: Sequence[Pair], form: RowForm, device: torch.device) -> list[Tensor]:
    """Returns the log-probs of y⁺ and y⁻ of each of ``pairs`` by token, every pair in a pass of its own. All ranks must
    call it."""
    return [
        values
        for pair in pairs
        for values in _by_response(logprobs, collate([pair], ((0,),), form).to(device))
    ]


@torch.no_grad()
def check_alone_and_together(  # noqa: PLR0917
    logprobs: nn.Module,
    pairs: Sequence[Pair],
    alone: Sequence[Tensor],
    form: RowForm,
    settings: TrainConfig,
    device: torch.device,
) -> Finding:
    """Checks that each of ``pairs`` has the log-probs in a pass with the others that it has alone, and has them twice.

    All ranks must call it, with the same pairs.

    Args:
        alone: what `probe` gives for ``pairs``.

    Raises:
        InputError: it has not: the model cannot be trained so; with the pair.
    """
    shortest = min(range(len(pairs)), key=lambda index: pairs[index].longest)
    again = probe(logprobs, [pairs[shortest]], form, device)
    twice = alone[2 * shortest : 2 * shortest + 2]
    where = "in two passes over the same tokens"
    rounding = REPEATED[settings.precision]
    _compare(
        [pairs[shortest]], twice, again, rounding=rounding, where=where, cause="something in it is random"
    )
    # The shortest with the longest in one row, and so on; the shortest once more in a row that is padded to that one.
    where, cause = "alone and in a pass with other pairs", "what it computes depends on the neighbours"
    order = sorted(range(len(pairs)), key=lambda index: pairs[index].longest)
    largest = 0.0
    for a, b in zip(order[: (len(order) + 1) // 2], reversed(order), strict=False):
        row = (a, b) if a != b else (a,)
        batch = collate(pairs, (row, row[:1]), form).to(device)
        members = [*row, a]
        expected = [alone[2 * index + side] for index in members for side in range(2)]
        largest = max(
            largest,
            _compare(
                [pairs[index] for index in members],
                expected,
                _by_response(logprobs, batch),
                rounding=ROUNDING[settings.precision],
                where=where,
                cause=cause,
            ),
        )
    return Finding(len(pairs), largest)


@dataclass(frozen=True)
class Trained:
    """What training ended with, for a checkpoint to be compared with."""

    config: PretrainedConfig
    checksums: dict[str, int]
    """Of every weight that has no adapter, as a checkpoint gives it, and of every buffer that is saved, by name."""
    updates: dict[str, Update]
    """What adapters add to the other weights."""
    started: list[Tensor]
    """Log-probs of the probes before training, by token; and after it:"""
    ended: list[Tensor]

    @classmethod
    def of(
        cls, model: PreTrainedModel, settings: TrainConfig, started: list[Tensor], ended: list[Tensor]
    ) -> Self:
        """Reads ``model`` at the end of training. All ranks must call it."""
        updates = {} if settings.lora is None else read_updates(model)
        return cls(model.config, _plain_checksums(model, settings), updates, started, ended)

    def check(
        self,
        model: PreTrainedModel,
        saved: Sequence[Tensor],
        left_by_rounding: Mapping[str, float],
        pairs: Sequence[Pair],
        settings: TrainConfig,
    ) -> Finding:
        """Checks that ``model``, loaded from the checkpoint, is what was trained. All ranks must call it.

        Args:
            saved: its log-probs of the probes ``pairs``, by token.
            left_by_rounding: how much of each update is in the merged weights, 1 being all.

        Raises:
            EngineError: it is not.
        """
        self._check_config_and_weights(model, left_by_rounding, settings)
        largest = self.check_logprobs(saved, pairs, settings)
        share, error = _share_of_change(self.started, self.ended, saved)
        if (
            share is not None
            and settings.save_dtype == "bf16"
            and 1 - share > max(LOST_SHARE, _CERTAIN * error)
        ):
            log.warning(
                "the saved checkpoint has %.0f %% of the change of log-probs that training made: the rest is lost in "
                "rounding to bf16. train.save_dtype = fp32 keeps all of it",
                100 * share,
            )
        return Finding(len(pairs), largest, share)

    def _check_config_and_weights(
        self, model: PreTrainedModel, left_by_rounding: Mapping[str, float], settings: TrainConfig
    ) -> None:
        if different := differences(model.config, self.config):
            name, read, value = different[0]
            raise _differ(f"config.json gives {name} = {read!r}, and {value!r} was trained")
        sums = _plain_checksums(model, settings)
        if other := sorted(name for name, value in self.checksums.items() if sums.get(name) != value):
            raise _differ(
                f"{len(other)} of {len(self.checksums)} weights of the checkpoint are not those that training ended with, "
                f"{other[0]} among them"
            )
        assert self.updates.keys() == left_by_rounding.keys(), "an adapter was not merged"
        for name, share in shares_of_updates(model, self.updates).items():
            if not abs(share - left_by_rounding[name]) <= UPDATE_TOLERANCE:
                raise _differ(
                    f"{name} has {100 * share:.3g} % of what its adapter adds, where rounding leaves "
                    f"{100 * left_by_rounding[name]:.3g} %"
                )

    def check_logprobs(self, saved: Sequence[Tensor], pairs: Sequence[Pair], settings: TrainConfig) -> float:
        """Checks the log-probs ``saved`` of the probes ``pairs``, by token; returns the largest difference per token.

        Raises:
            EngineError: they are not those that training ended with.
        """
        same = settings.lora is None and settings.precision == settings.save_dtype
        exact = settings.precision == settings.save_dtype == "fp32"
        # Where weights were rounded in between, a router may choose other experts: then no more than all that changed.
        changes = [0.0] * len(self.ended)
        if not same and not exact:
            changes = [abs(float((b - a).sum())) for a, b in zip(self.started, self.ended, strict=True)]
        try:
            return _compare(
                pairs,
                self.ended,
                saved,
                rounding=(REPEATED if same else ROUNDING)[settings.precision if same or exact else "bf16"],
                changes=changes,
                where="at the end of training and from the checkpoint",
                cause="it is another model",
            )
        except InputError as error:
            raise _differ(str(error)) from error


def _differ(what: str) -> EngineError:
    return EngineError(
        f"saved and trained differ: {what}. The checkpoint is not what was trained, and must not be used"
    )


def _plain_checksums(model: PreTrainedModel, settings: TrainConfig) -> dict[str, int]:
    """Checksums of all but adapters and what they adapt, by name in the plain model, as they are when a checkpoint is
    loaded."""
    sums = checksums(model, [DTYPES[name] for name in (settings.save_dtype, settings.precision)])
    if settings.lora is None:
        return sums
    return {name: value for name, value in ((plain_name(n), v) for n, v in sums.items()) if name is not None}


def _share_of_change(
    started: Sequence[Tensor], ended: Sequence[Tensor], saved: Sequence[Tensor]
) -> tuple[float | None, float]:
    """Returns the least-squares factor between the changes of log-probs, by token, from ``started`` to ``ended`` and to
    ``saved``, and its standard error; None if nothing changed."""
    before = torch.cat(list(started))
    change, kept = torch.cat(list(ended)) - before, torch.cat(list(saved)) - before
    size = change.square().sum()
    if size == 0:
        return None, 0.0
    share = (change * kept).sum() / size
    error = ((kept - share * change).square().mean() / size).sqrt()
    return float(share), float(error)


def _by_response(logprobs: nn.Module, batch: RowBatch) -> list[Tensor]:
    """Returns the log-probs of each response of ``batch``, by token, on the CPU."""
    values = logprobs(batch, by_token=True)[batch.path_edge].cpu()
    return list(values.split(batch.path_sequence.bincount(minlength=batch.sequences).tolist()))


def _compare(
    pairs: Sequence[Pair],
    one: Sequence[Tensor],
    other: Sequence[Tensor],
    *,
    rounding: tuple[float, float],
    where: str,
    cause: str,
    changes: Sequence[float] | None = None,
) -> float:
    """Returns the largest mean difference per token; ``one`` and ``other`` have y⁺ and y⁻ of each pair in turn, by token.

    Args:
        rounding: see `ROUNDING`.
        changes: nats that are allowed of each response beside that.

    Raises:
        InputError: a response differs by more.
    """
    largest = 0.0
    for number, (by_token, others) in enumerate(zip(one, other, strict=True)):
        a, b, count = float(by_token.sum()), float(others.sum()), len(by_token)
        limit = rounding_limit(rounding, count) + (changes[number] if changes else 0.0)
        if not abs(a - b) <= limit:  # also NaN
            pair = pairs[number // 2]
            who = f"question_id {pair.question_id}, sample {pair.sample}: this model gives {'y⁻' if number % 2 else 'y⁺'}"
            if not math.isfinite(a):
                raise InputError(
                    f"{who} the log-prob {a}: look for NaN or infinity in its weights, or set precision to fp32"
                )
            raise InputError(
                f"{who} of {count} tokens the log-probs {a:.4f} and {b:.4f} {where} (at most {limit:.2g} nats are rounding): "
                f"{cause}"
            )
        largest = max(largest, abs(a - b) / count)
    return largest


def rounding_limit(rounding: tuple[float, float], tokens: int) -> float:
    """Nats by which two sums over so many tokens may differ: see `ROUNDING`."""
    return rounding[0] * tokens + rounding[1] * math.sqrt(tokens)
