"""The tensors of one forward pass: rows of tokens, padded, and where their response tokens are.

A *merged* row is a token trie over all sequences of several pairs. A *plain* row is one sequence: the trie of
that sequence alone, so both kinds have the same form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from spot_core.training.pairs import Pair
from spot_core.training.plan import MicroBatch
from spot_core.training.prefixes import TokenTrie, build_trie


@dataclass(frozen=True)
class RowForm:
    """How rows are laid out."""

    merged: bool = True
    """Pairs of a row share their common prefixes; else every sequence has a row of its own."""
    block: int | None = None
    """All rows of a micro-batch are joined into one, which is padded to blocks of this many tokens, two at least. None:
    they stay apart, each padded to the longest."""


@dataclass(frozen=True, eq=False)
class RowBatch:
    """A micro-batch. Sequence 2i is y⁺ and 2i + 1 is y⁻ of the i-th pair, counted row by row. Tries that are joined
    into one row are a trie too, of several roots."""

    form: RowForm
    input_ids: Tensor  # (rows, tokens) int64
    position_ids: Tensor  # (rows, tokens) int64: depth in the trie
    end: Tensor  # (rows, tokens) int64: index just past each token's subtree
    edge_parent: Tensor  # (edges,) int64: predicting position, in the flattened rows
    edge_token: Tensor  # (edges,) int64: token that is predicted there
    path_edge: Tensor  # (incidences,) int64: edges on the paths of the responses…
    path_sequence: Tensor  # (incidences,) int64: …and whose they are
    sequences: int
    tokens: int  # without padding

    @property
    def real_tokens(self) -> Tensor:
        """(rows, tokens) int64: 1 where a plain row has its sequence, 0 where padding. Of rows that are not joined."""
        index = torch.arange(self.end.shape[1], device=self.end.device)
        return (index < self.end[:, :1]).long()

    def sum_paths(self, by_edge: Tensor) -> Tensor:
        """Sums a value of each edge, (edges,), over the response of every sequence: (sequences,)."""
        sums = torch.zeros(self.sequences, dtype=by_edge.dtype, device=by_edge.device)
        # An empty micro-batch has no sum to differentiate, but every rank needs a backward pass.
        return sums.index_add(0, self.path_sequence, by_edge[self.path_edge])

    def to(self, device: torch.device) -> "RowBatch":
        """The same batch with its tensors on ``device``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return RowBatch(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})


def collate(pairs: Sequence[Pair], micro_batch: MicroBatch, form: RowForm = RowForm()) -> RowBatch:
    """Returns the tensors of ``micro_batch`` (indexes into ``pairs``).

    An empty micro-batch is one row of one padding token that nothing is predicted from.
    """
    tries = [trie for row in micro_batch for trie in _tries([pairs[index] for index in row], form)]
    sizes = [len(trie.tokens) for trie in tries]
    if form.block is None:
        shape = (max(1, len(tries)), max(sizes, default=1))
        places = [row * shape[1] for row in range(len(tries))]
        shifts = [0] * len(tries)
    else:
        shape = (1, max(2, -(-sum(sizes) // form.block)) * form.block)
        places = shifts = list(accumulate(sizes, initial=0))[:-1]
    input_ids, position_ids = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    end = np.broadcast_to(np.arange(1, shape[1] + 1), shape).copy()  # padding attends to itself
    none = np.zeros(0, dtype=np.int64)
    parents, tokens, path_edges, path_sequences = [none], [none], [none], [none]
    edges = sequences = 0
    for trie, size, place, shift in zip(tries, sizes, places, shifts, strict=True):
        input_ids.flat[place : place + size] = trie.tokens
        position_ids.flat[place : place + size] = trie.depth
        end.flat[place : place + size] = trie.end + shift
        parents.append(trie.edge_parent + place)
        tokens.append(trie.tokens[trie.edge_node])
        path_edges.append(trie.path_edge + edges)
        path_sequences.append(trie.path_sequence + sequences)
        edges += len(trie.edge_node)
        sequences += trie.sequences
    return RowBatch(
        form=form,
        input_ids=torch.from_numpy(input_ids),
        position_ids=torch.from_numpy(position_ids),
        end=torch.from_numpy(end),
        edge_parent=torch.from_numpy(np.concatenate(parents)),
        edge_token=torch.from_numpy(np.concatenate(tokens)),
        path_edge=torch.from_numpy(np.concatenate(path_edges)),
        path_sequence=torch.from_numpy(np.concatenate(path_sequences)),
        sequences=sequences,
        tokens=sum(sizes),
    )


def _tries(members: Sequence[Pair], form: RowForm) -> list[TokenTrie]:
    """The rows of a row of the plan: one of all its sequences, or one for each."""
    sequences = [ids for pair in members for ids in (pair.chosen_sequence, pair.rejected_sequence)]
    prompts = [len(pair.prompt) for pair in members for _ in range(2)]
    if form.merged:
        return [build_trie(sequences, prompts)]
    return [build_trie([sequence], [prompt]) for sequence, prompt in zip(sequences, prompts, strict=True)]
