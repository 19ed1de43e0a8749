"""How much of a rectified response is new: the change ratio R and the regions of the edit, by exact LCS.

R(y⁻, y⁺) = 1 − |LCS(y⁻, y⁺)| / |y⁺| over token ids of the policy's own tokenizer (SPoT, arXiv 2603.01683).
`difflib` is not used: its matching blocks are a heuristic, not a longest common subsequence.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import LCSseq

NARROW = 8
"""A first look for the LCS misses at most one in so many items: a minimal edit, found 2.5 to 4 times as fast at 8k tokens."""


@dataclass(frozen=True, slots=True)
class EditRegion:
    """One maximal run of change: `rejected[rejected_start:rejected_end]` became `chosen[chosen_start:chosen_end]`."""

    rejected_start: int
    rejected_end: int
    chosen_start: int
    chosen_end: int


def change_ratio(rejected_ids: Sequence[Hashable], chosen_ids: Sequence[Hashable]) -> float:
    """R in 0 … 1: the share of the chosen ids that is not part of an LCS with the rejected ones.

    Terminators are for the caller to leave out. An empty `chosen_ids` has nothing new in it, but deletes
    everything: 1.0 if something was deleted, 0.0 if both are empty. Ids are compared by their hash, which is the
    id itself from 0 to 2⁶¹ − 2.
    """
    if not chosen_ids:
        return 1.0 if rejected_ids else 0.0
    return 1.0 - _lcs_length(rejected_ids, chosen_ids) / len(chosen_ids)


def _lcs_length(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """|LCS|, exactly: in a band around the diagonal if it is long enough to lie there, else in the whole table."""
    longest = max(len(left), len(right))
    # Below its cutoff rapidfuzz says 0.
    in_band = LCSseq.similarity(left, right, score_cutoff=longest - longest // NARROW)
    return in_band or LCSseq.similarity(left, right)


def edit_regions(rejected_ids: Sequence[Hashable], chosen_ids: Sequence[Hashable]) -> list[EditRegion]:
    """The runs of change between two sequences, left to right, from one exact LCS alignment."""
    regions: list[EditRegion] = []
    for code in LCSseq.opcodes(rejected_ids, chosen_ids):
        if code.tag == "equal":
            continue
        region = EditRegion(code.src_start, code.src_end, code.dest_start, code.dest_end)
        last = regions[-1] if regions else None
        if last and (last.rejected_end, last.chosen_end) == (region.rejected_start, region.chosen_start):
            region = EditRegion(
                last.rejected_start, region.rejected_end, last.chosen_start, region.chosen_end
            )
            regions[-1] = region
        else:
            regions.append(region)
    return regions


def shared_prefix_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many leading items (token ids, characters) two sequences share."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)
