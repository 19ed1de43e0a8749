import itertools
import random
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.change_ratio import NARROW, change_ratio, edit_regions, shared_prefix_length

Ids = list[int]

ids = st.lists(st.integers(0, 5) | st.integers(0, 200_000), max_size=40)


@st.composite
def edited_pairs(draw: st.DrawFn) -> tuple[Ids, Ids]:
    """A sequence and one made from it, as rectification makes them: replaced regions and much that stays."""
    rejected = draw(ids)
    chosen = list(rejected)
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(chosen))), draw(st.integers(0, 8))
        chosen[start : start + length] = draw(st.lists(st.sampled_from([*range(6), *rejected]), max_size=8))
    return rejected, chosen


pairs = (
    st.tuples(ids, ids) | edited_pairs() | ids.flatmap(lambda a: st.tuples(st.just(a), st.permutations(a)))
)


def lcs_length(a: Ids, b: Ids) -> int:
    """|LCS| by the textbook table, one row at a time; shares no code and no idea with the bit-parallel one."""
    right, row = np.array(b), np.zeros(len(b) + 1, dtype=np.int64)
    for item in a:
        # best[j] without the left neighbour; as a row never falls and rises by at most 1, the running maximum adds it.
        best = np.maximum(row[1:], row[:-1] + (right == item)) if b else row[1:]
        row[1:] = np.maximum.accumulate(best)
    return int(row[-1])


def common_subsequence_length(a: Ids, b: Ids) -> int:
    """|LCS| by trying every subsequence of both."""

    def subsequences(x: Ids) -> set[tuple[int, ...]]:
        return {tuple(itertools.compress(x, mask)) for mask in itertools.product((0, 1), repeat=len(x))}

    return max(len(common) for common in subsequences(a) & subsequences(b))


def check_pair(rejected: Ids, chosen: Ids, lcs: int) -> None:
    """R is exact; the regions are ordered, apart, minimal, and rebuild both sequences from what they share."""
    expected = 1 - lcs / len(chosen) if chosen else float(bool(rejected))
    assert change_ratio(rejected, chosen) == expected

    regions = edit_regions(rejected, chosen)
    for left, right in pairwise(regions):
        assert left.rejected_end < right.rejected_start
        assert left.chosen_end < right.chosen_start
    kept, rebuilt, position = [], [], 0
    for region in regions:
        assert region.rejected_end > region.rejected_start or region.chosen_end > region.chosen_start
        same = rejected[position : region.rejected_start]
        kept += same
        rebuilt += same
        assert len(rebuilt) == region.chosen_start
        rebuilt += chosen[region.chosen_start : region.chosen_end]
        assert len(rebuilt) == region.chosen_end
        position = region.rejected_end
    kept += rejected[position:]
    rebuilt += rejected[position:]
    assert rebuilt == chosen
    assert len(kept) == lcs


def test_every_pair_of_up_to_four_ids_over_three_is_measured_as_by_trying_all_subsequences():
    sequences = [list(s) for length in range(5) for s in itertools.product(range(3), repeat=length)]
    for rejected, chosen in itertools.product(sequences, sequences):
        lcs = common_subsequence_length(rejected, chosen)
        assert lcs == lcs_length(rejected, chosen)
        check_pair(rejected, chosen, lcs)


@settings(max_examples=1_000)
@given(pairs)
def test_ratio_and_regions_are_those_of_the_textbook_lcs(pair):
    check_pair(*pair, lcs_length(*pair))


def random_pairs(seed: int, count: int, longest: int) -> Iterator[tuple[Ids, Ids]]:
    """Unrelated, edited, permuted, equal and empty pairs over alphabets of 1 to 150,000 ids."""
    rng = random.Random(seed)
    for _ in range(count):
        alphabet = rng.choice((1, 2, 4, 10, 50, 300, 5_000, 150_000))
        left, right = ([rng.randrange(alphabet) for _ in range(rng.randint(0, longest))] for _ in range(2))
        match rng.choice(
            ("unrelated", "edited", "edited", "edited", "permuted", "shifted", "equal", "empty")
        ):
            case "edited":
                right = list(left)
                for _ in range(rng.randint(1, 6)):
                    start = rng.randint(0, len(right))
                    fresh = [rng.randrange(alphabet) for _ in range(rng.randint(0, 12))]
                    right[start : start + rng.randint(0, 12)] = fresh
            case "permuted":
                right = rng.sample(left, len(left))
            case "shifted":  # a band around the diagonal would miss it
                cut = rng.randint(0, len(left))
                right = left[cut:] + left[:cut]
            case "equal":
                right = list(left)
            case "empty":
                left, right = rng.choice(((left, []), ([], left)))
        yield left, right


@pytest.mark.parametrize(
    ("count", "longest"),
    [
        pytest.param(4_000, 48, id="within one machine word"),
        pytest.param(1_000, 200, id="over the edges of machine words"),
        pytest.param(60, 1_500, id="many machine words"),
    ],
)
def test_ratio_and_regions_are_exact_on_thousands_of_random_pairs(count, longest):
    for rejected, chosen in random_pairs(longest, count, longest):
        check_pair(rejected, chosen, lcs_length(rejected, chosen))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64, 65, 129, 800, 8_000, 32_000])
@pytest.mark.parametrize("share", [0, 1 / NARROW, 1 / NARROW + 0.01, 0.5, 1])
def test_ratio_of_an_edit_with_new_ids_is_their_share_at_any_length(length, share):
    new = round(length * share)
    rejected = list(range(length))
    replaced = random.Random(length).sample(range(length), new)
    chosen = list(rejected)
    for place in replaced:
        chosen[place] += length  # an id of its own, which rejected does not have
    assert change_ratio(rejected, chosen) == 1 - (length - new) / length
    assert sum(r.chosen_end - r.chosen_start for r in edit_regions(rejected, chosen)) == new


@given(pairs, st.integers(1, 2**40))
def test_ratio_does_not_depend_on_which_numbers_the_ids_are(pair, factor):
    rejected, chosen = ([item * factor for item in sequence] for sequence in pair)
    assert change_ratio(rejected, chosen) == change_ratio(*pair)
    assert change_ratio(tuple(rejected), chosen) == change_ratio(*pair)


@given(ids, ids, ids)
def test_shared_prefix_is_found(prefix, left, right):
    length = shared_prefix_length(prefix + left, prefix + right)
    assert length >= len(prefix)
    assert (prefix + left)[:length] == (prefix + right)[:length]
    assert (prefix + left)[length : length + 1] != (prefix + right)[length : length + 1] or length == min(
        len(prefix + left), len(prefix + right)
    )


def test_replacement_is_one_region():
    regions = edit_regions([1, 2, 3, 4, 5, 6], [1, 9, 8, 4, 5, 7])
    assert [(r.rejected_start, r.rejected_end, r.chosen_start, r.chosen_end) for r in regions] == [
        (1, 3, 1, 3),
        (5, 6, 5, 6),
    ]


def test_empty_chosen_is_handled():
    assert change_ratio([], []) == 0.0
    assert change_ratio([1], []) == 1.0
