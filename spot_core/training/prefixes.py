"""How many tokens any set of pairs takes in one row, without building it."""

from collections.abc import Sequence

import numpy as np

from spot_core.training.pairs import Pair
from spot_core.training.trie import lexicographic_order, shared_prefix


class PrefixIndex:
    """Lengths of all sequences of all pairs, and what neighbours in lexicographic order share.

    In that order two sequences share the least of what the neighbours between them share; so the nodes of a
    trie over any subset are Σ lengths − Σ (shared with the previous one of the subset).
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        sequences = [ids for pair in pairs for ids in (pair.chosen_sequence, pair.rejected_sequence)]
        order = lexicographic_order(sequences)
        self._place = np.empty(len(order), dtype=np.int64)  # sequence → place in the order
        self._place[order] = np.arange(len(order))
        self._length = np.array([len(sequences[index]) for index in order], dtype=np.int64)  # by place
        self._shared = np.zeros(len(order), dtype=np.int64)  # by place: with the one before
        for place in range(1, len(order)):
            self._shared[place] = shared_prefix(sequences[order[place - 1]], sequences[order[place]])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._place) // 2

    def trie_tokens(self, pairs: Sequence[int]) -> int:
        """Nodes of the trie over both sequences of each of ``pairs`` (indexes)."""
        if not pairs:
            return 0
        indexes = np.asarray(pairs, dtype=np.int64)
        places = np.sort(np.concatenate([self._place[2 * indexes], self._place[2 * indexes + 1]]))
        tokens = self._length[places].sum()
        # the least shared over each (previous place, place]; reduceat's last segment runs to the array's end
        least = np.minimum.reduceat(self._shared[: places[-1] + 1], places[:-1] + 1)
        return int(tokens - least.sum())

    def order(self, pairs: Sequence[int]) -> list[int]:
        """``pairs`` with those that share most next to each other."""
        return sorted(pairs, key=lambda pair: int(self._place[2 * pair]))


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
