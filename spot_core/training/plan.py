"""Which pairs are computed at which optimizer step, on which rank, in which row, and at which learning rate.

A pure function of the pairs, the world size, the budgets and the seed. The pairs of a step depend on the seed
alone, so ranks and packing change the result by rounding only. Since all of it is known before training, a resume needs
no state of a scheduler.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_core.config.train import TrainConfig
from spot_core.training.prefixes import PlainIndex, PrefixIndex

_OPEN_ROWS = 16  # rows that a pair may still join: bounds the search for the best one

Row = tuple[int, ...]  # pairs merged into one trie
PairIndex = PrefixIndex | PlainIndex
MicroBatch = tuple[Row, ...]  # rows of one forward pass, padded to the longest; may be empty


@dataclass(frozen=True)
class RowBudget:
    """How much goes into a row and into a forward pass of one rank, in tokens."""

    row_tokens: int
    micro_batch_tokens: int

    @classmethod
    def of(cls, settings: TrainConfig, *, on_gpu: bool, merged: bool = True) -> "RowBudget":
        """The budgets of ``settings``, or those that suit the device.

        On CPU attention is dense and caches are small, so rows are short and few at a time; a GPU prefers few long ones.
        No pair joins a plain row.
        """
        row_tokens, micro_batch_tokens = (8192, 8192) if on_gpu else (160, 1024)
        return cls(
            (settings.row_tokens or row_tokens) if merged else 1,
            settings.micro_batch_tokens or micro_batch_tokens,
        )


@dataclass(frozen=True)
class Step:
    """One optimizer step: its pairs, and each rank's forward passes, as many on every rank."""

    epoch: int
    pairs: tuple[int, ...]
    micro_batches: tuple[tuple[MicroBatch, ...], ...]  # [rank][micro-batch]


def plan_training(
    index: PairIndex, *, epochs: int, batch_size: int, seed: int, world_size: int, budget: RowBudget
) -> list[Step]:
    """Returns the steps of all epochs: ``batch_size`` pairs each, an epoch's last takes the rest."""
    steps = []
    for epoch in range(epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(len(index)).tolist()
        for start in range(0, len(shuffled), batch_size):
            steps.append(plan_step(index, epoch, shuffled[start : start + batch_size], world_size, budget))
    return steps


def plan_reference(index: PairIndex, *, world_size: int, budget: RowBudget) -> Step:
    """Returns one pass over all pairs, each once."""
    return plan_step(index, 0, list(range(len(index))), world_size, budget)


def plan_step(index: PairIndex, epoch: int, pairs: Sequence[int], world_size: int, budget: RowBudget) -> Step:
    """Lays ``pairs`` out over ranks, rows and micro-batches."""
    shares = balance(index, pairs, world_size)
    packed = [_group(index, pack(index, share, budget.row_tokens), budget) for share in shares]
    most = max(len(micro_batches) for micro_batches in packed)
    return Step(epoch, tuple(pairs), tuple(tuple(_stretch(batches, most)) for batches in packed))


def balance(index: PairIndex, pairs: Sequence[int], world_size: int) -> list[list[int]]:
    """Returns each rank's share of ``pairs``, with about equal tokens: the longest first, to the least loaded.

    A pair weighs what it does not share with the pairs that it will most likely be merged with: those
    ``world_size`` places away in lexicographic order, for each rank gets about every ``world_size``-th.
    """
    if world_size == 1:
        return [list(pairs)]
    similar = index.order(pairs)
    alone = [index.trie_tokens([pair]) for pair in similar]
    shared = [
        alone[i] + alone[i + world_size] - index.trie_tokens([similar[i], similar[i + world_size]])
        for i in range(len(similar) - world_size)
    ]
    before, after = [0] * world_size + shared, shared + [0] * world_size
    weight = {
        pair: tokens - max(left, right)
        for pair, tokens, left, right in zip(similar, alone, before, after, strict=False)
    }
    shares: list[list[int]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for pair in sorted(similar, key=lambda pair: (-weight[pair], pair)):
        rank = load.index(min(load))
        shares[rank].append(pair)
        load[rank] += weight[pair]
    return shares


def pack(index: PairIndex, pairs: Sequence[int], row_tokens: int) -> list[Row]:
    """Puts ``pairs`` into rows of at most ``row_tokens`` tokens; a pair that is longer has a row of its own.

    Each pair joins the open row that grows least by it, which is the row it shares most with; among equals
    the fullest.
    """
    done, rows = [], []
    for pair in index.order(pairs):
        growths = [row.growth(pair) for row in rows]
        fitting = [
            (growth, -row.tokens, number)
            for number, (row, growth) in enumerate(zip(rows, growths, strict=True))
            if row.tokens + growth <= row_tokens
        ]
        if fitting:
            *_, best = min(fitting)
            rows[best].add(pair)
            continue
        if len(rows) == _OPEN_ROWS:
            fullest = max(range(_OPEN_ROWS), key=lambda number: rows[number].tokens)
            done.append(rows.pop(fullest))
        rows.append(index.open_row())
        rows[-1].add(pair)
    return [tuple(row.pairs) for row in [*done, *rows]]


def _group(index: PairIndex, rows: list[Row], budget: RowBudget) -> list[list[Row]]:
    """Micro-batches of rows of similar length, at most ``micro_batch_tokens`` with padding, or one row."""
    groups: list[list[Row]] = []
    longest = 0
    for size, row in sorted(((index.trie_tokens(row), row) for row in rows), reverse=True):
        if groups and (len(groups[-1]) + 1) * longest <= budget.micro_batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
            longest = size
    return groups


def _stretch(groups: list[list[Row]], count: int) -> list[MicroBatch]:
    """Splits groups until there are ``count``; where every row stands alone, empty ones fill up."""
    groups = list(groups)
    while len(groups) < count:
        largest = max(groups, key=len, default=[])
        if len(largest) < 2:
            groups.append([])
            continue
        at = groups.index(largest)
        groups[at : at + 1] = [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
    return [tuple(group) for group in groups]


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
