import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from spot_core.change_ratio import change_ratio, edit_regions, shared_prefix_length

ids = st.lists(st.integers(0, 5) | st.integers(0, 200_000), max_size=40)


def brute_force_lcs(a: list[int], b: list[int]) -> int:
    """|LCS| by the textbook table."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


@given(ids, ids)
def test_ratio_is_the_textbook_lcs(rejected, chosen):
    expected = 1 - brute_force_lcs(rejected, chosen) / len(chosen) if chosen else float(bool(rejected))
    assert change_ratio(rejected, chosen) == expected


@given(ids, ids)
def test_regions_rebuild_the_chosen_sequence_and_leave_exactly_the_lcs(rejected, chosen):
    rebuilt, kept, position = [], 0, 0
    for region in edit_regions(rejected, chosen):
        assert region.rejected_start >= position
        rebuilt += rejected[position : region.rejected_start]
        kept += region.rejected_start - position
        rebuilt += chosen[region.chosen_start : region.chosen_end]
        position = region.rejected_end
    rebuilt += rejected[position:]
    kept += len(rejected) - position
    assert rebuilt == chosen
    assert kept == brute_force_lcs(rejected, chosen)


@given(ids, ids)
def test_regions_are_maximal(rejected, chosen):
    regions = edit_regions(rejected, chosen)
    for left, right in pairwise(regions):
        assert left.rejected_end < right.rejected_start
        assert left.chosen_end < right.chosen_start


@given(ids)
def test_equal_sequences_have_no_change(sequence):
    assert change_ratio(sequence, list(sequence)) == 0.0
    assert edit_regions(sequence, sequence) == []


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


def test_eight_thousand_tokens_take_no_time():
    rejected = [i * 7919 % 5003 for i in range(8000)]
    chosen = rejected[:3000] + [6000] * 50 + rejected[3100:]
    started = time.perf_counter()
    assert 0 < change_ratio(rejected, chosen) < 0.02
    assert time.perf_counter() - started < 1.0
