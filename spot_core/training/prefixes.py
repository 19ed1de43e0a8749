"""Shared prefixes: token tries, in which every distinct prefix is one path, and the size of a trie before it is built.

A row lists the nodes of a forest depth first. With ``end[k]`` the index just past the subtree of node k,

    token q may attend to token k exactly if k ≤ q < end[k]          position_id = depth in the trie

so each sequence sees its own prefix and nothing else. A sequence is not a leaf but a path: it may end at an
inner node, and a duplicate is a second path over the same nodes. An *edge* is a node predicted from its parent
as response token by at least one sequence; a node with several children is so scored once per child.
"""

from array import array
from bisect import bisect, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_core.training.pairs import Pair


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """One row. ``nodes`` are in depth-first order; ``paths`` list (sequence, edge) incidences."""

    tokens: np.ndarray  # (nodes,) int64
    end: np.ndarray  # (nodes,) int64
    depth: np.ndarray  # (nodes,) int64
    edge_parent: np.ndarray  # (edges,) int64: node whose hidden state predicts
    edge_node: np.ndarray  # (edges,) int64: node that is predicted
    path_sequence: np.ndarray  # (incidences,) int64: index into the given sequences
    path_edge: np.ndarray  # (incidences,) int64: index into the edges
    sequences: int


def shared_prefix(first: np.ndarray, second: np.ndarray) -> int:
    """Tokens that two sequences have in common at their start."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


def lexicographic_order(sequences: Sequence[np.ndarray]) -> list[int]:
    """Indexes of ``sequences`` in the order of their token ids, a prefix before what continues it."""
    keys = [sequence.astype(">u4").tobytes() for sequence in sequences]
    return sorted(range(len(sequences)), key=keys.__getitem__)


def build_trie(sequences: Sequence[np.ndarray], prompt_tokens: Sequence[int]) -> TokenTrie:
    """Merges ``sequences`` (prompt and response each), of which the first ``prompt_tokens[i]`` are not scored.

    In lexicographic order each sequence shares more with its predecessor than with any earlier one, so walking
    them in that order visits the trie depth first and needs no tree of objects.
    """
    assert all(prompt >= 1 for prompt in prompt_tokens), "the first token of a sequence cannot be predicted"
    tokens: list[np.ndarray] = []
    parents: list[np.ndarray] = []
    ends = np.zeros(sum(map(len, sequences)), dtype=np.int64)
    paths: dict[int, np.ndarray] = {}
    size = 0
    path = np.zeros(0, dtype=np.int64)  # nodes of the current sequence
    previous = np.zeros(0, dtype=np.int64)
    for index in lexicographic_order(sequences):
        sequence = sequences[index]
        shared = shared_prefix(previous, sequence)
        ends[path[shared:]] = size  # their subtrees are complete
        added = np.arange(size, size + len(sequence) - shared)
        tokens.append(sequence[shared:])
        path = np.concatenate([path[:shared], added])
        parents.append(np.concatenate([[-1], path])[shared : len(path)])
        paths[index] = path
        previous, size = sequence, size + len(added)
    ends[path] = size
    end = ends[:size]
    parent = np.concatenate([*parents, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    depth = np.zeros(size, dtype=np.int64)
    for path in paths.values():
        depth[path] = np.arange(len(path))

    scored = [paths[index][prompt:] for index, prompt in enumerate(prompt_tokens)]  # nodes of each response
    path_node = np.concatenate([*scored, np.zeros(0, dtype=np.int64)])
    edge_node, path_edge = np.unique(path_node, return_inverse=True)
    return TokenTrie(
        tokens=np.concatenate([*tokens, np.zeros(0, dtype=np.int64)]).astype(np.int64),
        end=end,
        depth=depth,
        edge_parent=parent[edge_node],
        edge_node=edge_node,
        path_sequence=np.repeat(np.arange(len(scored)), [len(nodes) for nodes in scored]),
        path_edge=path_edge,
        sequences=len(sequences),
    )


class PrefixIndex:
    """Lengths of all sequences of all pairs, and what neighbours in lexicographic order share.

    In that order two sequences share the least of what the neighbours between them share; so the nodes of a
    trie over any subset are Σ lengths − Σ (shared with the previous one of the subset).
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        sequences = [ids for pair in pairs for ids in (pair.chosen_sequence, pair.rejected_sequence)]
        order = lexicographic_order(sequences)
        self._place = [0] * len(order)  # sequence → place in the order
        for place, index in enumerate(order):
            self._place[index] = place
        self._length = [len(sequences[index]) for index in order]  # by place
        shared = np.zeros(len(order), dtype=np.int32)  # by place: with the one before
        for place in range(1, len(order)):
            shared[place] = shared_prefix(sequences[order[place - 1]], sequences[order[place]])
        # The least of 2^level values from each place on: any range is two of them (a sparse table).
        self._least = [array("i", shared.tobytes())]
        while (width := 2 ** len(self._least)) <= len(order):
            shared = np.minimum(shared[: -(width // 2)], shared[width // 2 :])
            self._least.append(array("i", shared.tobytes()))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._place) // 2

    def trie_tokens(self, pairs: Sequence[int]) -> int:
        """Nodes of the trie over both sequences of each of ``pairs`` (indexes)."""
        places = sorted(place for pair in pairs for place in self.places(pair))
        return sum(self._length[place] for place in places) - sum(map(self._shared, places, places[1:]))

    def places(self, pair: int) -> tuple[int, int]:
        """Where the two sequences of a pair are in lexicographic order, the first one first."""
        chosen, rejected = self._place[2 * pair : 2 * pair + 2]
        return (chosen, rejected) if chosen < rejected else (rejected, chosen)

    def growth(self, before: int | None, place: int, after: int | None) -> int:
        """Nodes that a trie grows by with the sequence at ``place``, between its neighbours in the order."""
        return self._length[place] - max(
            0 if before is None else self._shared(before, place),
            0 if after is None else self._shared(place, after),
        )

    def order(self, pairs: Sequence[int]) -> list[int]:
        """``pairs`` with those that share most next to each other."""
        return sorted(pairs, key=lambda pair: self._place[2 * pair])

    def open_row(self) -> "MergedRow":
        """Returns an empty row."""
        return MergedRow(self)

    def _shared(self, before: int, after: int) -> int:
        """Tokens that the sequences at two places share at their start."""
        level = (after - before).bit_length() - 1
        least = self._least[level]
        return min(least[before + 1], least[after + 1 - (1 << level)])


class MergedRow:
    """A row that is being filled: its pairs, and how many nodes the trie over them has."""

    def __init__(self, index: PrefixIndex) -> None:
        self.pairs: list[int] = []
        self.tokens = 0
        self._index = index
        self._places: list[int] = []  # of its sequences, sorted

    def growth(self, pair: int) -> int:
        """Nodes by which ``pair`` would let it grow."""
        first, second = self._index.places(pair)
        before, after = self._neighbours(first)
        tokens = self._index.growth(before, first, after)
        before, after = self._neighbours(second)
        return tokens + self._index.growth(first if before is None else max(before, first), second, after)

    def add(self, pair: int) -> None:
        """Puts ``pair`` into the row."""
        self.tokens += self.growth(pair)
        self.pairs.append(pair)
        for place in self._index.places(pair):
            insort(self._places, place)

    def _neighbours(self, place: int) -> tuple[int | None, int | None]:
        at = bisect(self._places, place)
        return (
            self._places[at - 1] if at else None,
            self._places[at] if at < len(self._places) else None,
        )


class PlainIndex:
    """The same for plain rows: each sequence stands alone, those of a pair padded to the longer one."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._longest = [pair.longest for pair in pairs]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._longest)

    def trie_tokens(self, pairs: Sequence[int]) -> int:
        """Tokens of both rows of each of ``pairs`` (indexes)."""
        return sum(2 * self._longest[pair] for pair in pairs)

    def order(self, pairs: Sequence[int]) -> list[int]:
        """``pairs`` with those of like length next to each other."""
        return sorted(pairs, key=lambda pair: (self._longest[pair], pair))

    def open_row(self) -> "PlainRows":
        """Returns rows without a pair."""
        return PlainRows(self)


class PlainRows:
    """The same as `MergedRow` for pairs whose sequences stand alone."""

    def __init__(self, index: PlainIndex) -> None:
        self.pairs: list[int] = []
        self.tokens = 0
        self._index = index

    def growth(self, pair: int) -> int:
        """Tokens by which ``pair`` would let them grow."""
        return self._index.trie_tokens([pair])

    def add(self, pair: int) -> None:
        """Adds the rows of ``pair``."""
        self.tokens += self.growth(pair)
        self.pairs.append(pair)
