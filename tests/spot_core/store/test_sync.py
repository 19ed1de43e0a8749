"""Journals of unfinished work go from machine to machine without losing or mixing up a row."""

import itertools
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.errors import ArtifactError
from spot_core.store.journal import Journal, read_journal
from spot_core.store.s3.objects import Objects
from spot_core.store.s3.sync import JournalMirror

ATTEMPT = st.tuples(
    st.integers(0, 2),  # on which machine
    st.lists(st.integers(0, 3), max_size=4),  # rows before each push
    st.integers(0, 3),  # rows after the last push
    st.binary(max_size=20),  # half a record, at the moment of the kill
)


def rows_of(folder):
    return [record["n"] for record in read_journal(folder / "rows.jsonl")]


@settings(max_examples=60)
@given(attempts=st.lists(ATTEMPT, min_size=1, max_size=6))
def test_every_row_that_was_pushed_is_there_once_and_in_order_for_the_next_holder(attempts):
    objects, numbers, pushed = Objects(f"memory://{uuid.uuid4().hex}"), itertools.count(), []
    with tempfile.TemporaryDirectory() as folder:
        for lease, (machine, groups, unpushed, half) in enumerate([*attempts, (3, [], 0, b"")]):
            home = Path(folder) / str(machine)
            mirror = JournalMirror(objects, home, "work", lease=lease)
            mirror.restore(grown_elsewhere=True)
            with Journal(home / "rows.jsonl") as journal:
                found = rows_of(home)
                assert found[: len(pushed)] == pushed
                assert sorted(set(found)) == found
                for count in groups:
                    for number in itertools.islice(numbers, count):
                        journal.append({"n": number})
                    mirror.push()
                    pushed = rows_of(home)
                for number in itertools.islice(numbers, unpushed):
                    journal.append({"n": number})
            with (home / "rows.jsonl").open("ab") as file:
                file.write(half.replace(b"\n", b" "))


@pytest.mark.parametrize("late", [False, True])
def test_what_a_paused_holder_pushes_after_the_next_one_began_does_not_count(tmp_path, late):
    objects = Objects(f"memory://{uuid.uuid4().hex}")
    first, second, third = (
        JournalMirror(objects, tmp_path / name, "work", lease=lease) for lease, name in enumerate("abc")
    )
    first.restore(grown_elsewhere=True)
    with Journal(tmp_path / "a" / "rows.jsonl") as paused:
        paused.append({"n": 1})
        first.push()
        second.restore(grown_elsewhere=True)
        with Journal(tmp_path / "b" / "rows.jsonl") as journal:
            paused.append({"n": 100})
            journal.append({"n": 2})
            for mirror in (second, first) if late else (first, second):
                mirror.push()
            journal.append({"n": 3})
            second.push()
    third.restore(grown_elsewhere=True)
    assert rows_of(tmp_path / "c") == [1, 2, 3]


def test_a_piece_that_was_changed_is_refused(tmp_path):
    objects = Objects(f"memory://{uuid.uuid4().hex}")
    mirror = JournalMirror(objects, tmp_path / "a", "work")
    mirror.restore()
    with Journal(tmp_path / "a" / "rows.jsonl") as journal:
        journal.append({"n": 1})
    mirror.push()
    (piece,) = objects.listing("work")
    objects.write(piece, b"nonsense\n")
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        JournalMirror(objects, tmp_path / "b", "work").restore()
