"""How many tokens any set of pairs takes in one row, without building it."""

from array import array
from bisect import bisect, insort
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
