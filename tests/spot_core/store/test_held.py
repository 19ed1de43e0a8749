"""Files that are exchanged with a person go between a bucket and whichever machine is at work; none is lost on the way."""

import uuid

import pytest

from spot_core.store.s3.held import Beside
from spot_core.store.s3.objects import Objects

EDITS = "rectify/key/review/edits.jsonl"


@pytest.fixture
def objects():
    return Objects(f"memory://{uuid.uuid4().hex}")


def put(root, text):
    (root / EDITS).parent.mkdir(parents=True, exist_ok=True)
    (root / EDITS).write_text(text)


def test_what_was_written_on_this_machine_counts_more_than_what_is_in_the_store(objects, tmp_path):
    objects.write(EDITS, b"older")
    put(tmp_path, "newer")
    beside = Beside(objects, tmp_path, "rectify/key")
    beside.pull()
    assert (tmp_path / EDITS).read_text() == "newer"
    beside.push()
    assert objects.read(EDITS) == b"newer"


@pytest.mark.parametrize("here", [True, False])
def test_what_was_used_up_is_gone_in_both_places(objects, tmp_path, here):
    objects.write(EDITS, b"an edit")
    if here:
        put(tmp_path, "an edit")
    beside = Beside(objects, tmp_path, "rectify/key")
    beside.pull()
    (tmp_path / EDITS).unlink()
    beside.push()
    assert objects.read(EDITS) is None
    Beside(objects, tmp_path, "rectify/key").pull()
    assert not (tmp_path / EDITS).exists()


def test_what_a_person_adds_meanwhile_stays(objects, tmp_path):
    beside = Beside(objects, tmp_path, "rectify/key")
    beside.pull()
    objects.write(EDITS, b"just added")
    beside.push()
    assert objects.read(EDITS) == b"just added"


def test_nothing_else_of_the_artifact_is_exchanged(objects, tmp_path):
    objects.write("rectify/key/0/part-0.parquet", b"rows")
    Beside(objects, tmp_path, "rectify/key").pull()
    assert not (tmp_path / "rectify").exists()
