"""Segments give back both texts, however long or odd, and mark what was changed."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.report.segments import Segment, segments

texts = st.text(alphabet="ab 1.\n\t=\ud800\u202e", max_size=30)


@given(old=texts, new=texts)
def test_both_texts_come_back(old, new):
    made = segments(old, new)
    assert "".join(same + before for same, before, _ in made) == old
    assert "".join(same + after for same, _, after in made) == new
    assert all(before or after for _, before, after in made[:-1])


@given(text=texts)
def test_equal_texts_have_no_change(text):
    assert segments(text, text) == ([Segment(text, "", "")] if text else [])


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("48+8=46", "48+8=56", [("46", "56")]),
        ("costs 3.0 dollars", "costs 3.5 dollars", [("3.0", "3.5")]),
        ("so we add them", "so one multiplies these", [("we add them", "one multiplies these")]),
        ("a b", "a x y b", [("", "x y ")]),
        ("one\ntwo", "uno\ndos", [("one", "uno"), ("two", "dos")]),
        ("", "all new", [("", "all new")]),
    ],
)
def test_a_change_is_as_a_person_would_mark_it(old, new, changes):
    made = [(before, after) for _, before, after in segments(old, new) if before or after]
    assert made == changes


def test_long_texts_are_aligned_by_lines_and_words():
    lines = [f"step {n}: {n} + 1 = {n + 1}\n" for n in range(10_000)]
    old, new = (
        "".join(lines),
        "".join(["so:\n", *lines[:9000], lines[9000].replace("9001", "9002"), *lines[9001:]]) + "done",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    changes = [(s.old, s.new) for s in segments(old, new) if s.old or s.new]
    assert changes == [("", "so:\n"), ("9001", "9002"), ("", "done")]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def test_texts_without_lines_that_are_too_long_are_one_change():
    old, new = "a " * 20_000 + "a", "b " * 20_000 + "b"
    assert segments(old, new) == [Segment("", old, new)]
