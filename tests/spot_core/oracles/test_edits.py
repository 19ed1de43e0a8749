"""A person's edits are read strictly: whatever cannot be used is told with file, line and field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.errors import InputError
from spot_core.oracles.edits import EDITS, read_edits, take_edits
from spot_core.oracles.human import Edits

KNOWN = {("a", 0), ("a", 1), ("b", 0)}
A, B = ("a", 0), ("b", 0)


def line(question_id="a", sample=0, **more):
    return json.dumps({"question_id": question_id, "sample": sample} | more)


def put(folder, *lines, name=EDITS):
    (folder / name).write_text("\n".join(lines))


def test_edits_and_skips_are_read(tmp_path):
    put(tmp_path, line(rectified="x\ny"), "", line(sample=1, skip=True), line("b", skip=False, rectified="z"))
    edits = read_edits(tmp_path, known=KNOWN)
    assert edits == Edits(texts={A: "x\ny", B: "z"}, skipped=frozenset({("a", 1)}))


def test_where_nothing_is_yet_there_are_no_edits(tmp_path):
    assert read_edits(tmp_path / "nowhere", known=KNOWN) == Edits()


def test_a_copy_of_the_failures_with_the_edits_in_it_will_do(tmp_path):
    failure = {"question": "q", "answer": "4", "response": "r", "reason": ""}
    put(tmp_path, line(**failure, rectified="x"), line("b", **failure, rectified="", skip=True))
    assert read_edits(tmp_path, known=KNOWN) == Edits(texts={A: "x"}, skipped=frozenset({B}))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "not JSON"),
        ('{"question_id": "a", "sample": 0, "rectified": "x"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a", 0, "x"]', "a JSON object is needed"),
        (line("c", rectified="x"), "question_id 'c', sample 0: no such failure"),
        (line("a", 2, rectified="x"), "question_id 'a', sample 2: no such failure"),
        (line(None, rectified="x"), "question_id = None"),
        (line(7, rectified="x"), "question_id = 7"),
        (line(sample="0", rectified="x"), "sample = '0'"),
        (line(sample=True, rectified="x"), "sample = True"),
        (line(sample=0.0, rectified="x"), r"sample = 0\.0"),
        (line(rectified=""), "rectified is empty"),
        (line(rectified=" \n"), "rectified is empty"),
        (line(rectified=None), "rectified is empty"),
        (line(), "rectified is empty"),
        (line(skip=False), "rectified is empty"),
        (line(rectified=["x"]), "rectified = "),
        (line(skip="yes"), "skip = 'yes'"),
        (line(skip=1), "skip = 1"),
        (line(rectified="x", edited="y"), "unknown field 'edited'"),
        (line(rectified="x\ud83d"), r"U\+D83D\) at place 1"),
    ],
)
def test_a_bad_line_is_told_with_file_line_and_field(tmp_path, bad, said):
    put(tmp_path, line("b", rectified="fine"), bad)
    with pytest.raises(InputError, match=f"edits\\.jsonl, line 2: .*{said}"):
        read_edits(tmp_path, known=KNOWN)


def test_two_different_edits_of_one_failure_are_told_with_both_lines(tmp_path):
    put(tmp_path, line(rectified="x"), line("b", rectified="y"), line(rectified="z"))
    with pytest.raises(InputError, match=r"line 3: question_id 'a', sample 0 has another edit on line 1"):
        read_edits(tmp_path, known=KNOWN)
    put(tmp_path, line(rectified="x"), line(skip=True))
    with pytest.raises(InputError, match=r"line 2: .* has another edit on line 1"):
        read_edits(tmp_path, known=KNOWN)
    put(tmp_path, line(rectified="x"), line(rectified="x"))
    assert read_edits(tmp_path, known=KNOWN).texts == {A: "x"}


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path):
    (tmp_path / EDITS).write_bytes(line(rectified="x").encode() + b"\n\xff\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        read_edits(tmp_path, known=KNOWN)


def test_byte_order_mark_and_line_ends_of_windows_are_fine(tmp_path):
    text = f"{line(rectified='x')}\r\n{line('b', skip=True)}\r\n"
    (tmp_path / EDITS).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_edits(tmp_path, known=KNOWN) == Edits(texts={A: "x"}, skipped=frozenset({B}))


def test_of_files_taken_before_the_newest_edit_counts_and_skips_do_not(tmp_path):
    for text in ("first", *["later"] * 9):  # taken-10 is newer than taken-9
        put(tmp_path, line(rectified=text), line("b", skip=True))
        assert take_edits(tmp_path)
    put(tmp_path, line(rectified="last"))
    assert take_edits(tmp_path)
    assert not take_edits(tmp_path)
    assert len(list(tmp_path.iterdir())) == 11
    assert read_edits(tmp_path, known=KNOWN) == Edits(texts={A: "last"})
    put(tmp_path, line(skip=True))
    assert read_edits(tmp_path, known=KNOWN) == Edits(skipped=frozenset({A}))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), st.booleans())
def test_any_text_comes_back_as_it_was_saved(tmp_path_factory, text, ascii_only):
    folder = tmp_path_factory.mktemp("review")
    row = {"question_id": "a", "sample": 0, "rectified": text}
    (folder / EDITS).write_text(json.dumps(row, ensure_ascii=ascii_only) + "\n", encoding="utf-8", newline="")
    assert read_edits(folder, known=KNOWN).texts == {A: text}
