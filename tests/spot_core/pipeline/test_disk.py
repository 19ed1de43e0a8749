"""A disk that is full or read-only fails the stage with a plain word; what was finished is kept, and a retry goes on."""

import errno
import subprocess

import pytest

from spot_core.disk import plain_disk_errors
from spot_core.errors import StorageError
from spot_core.pipeline import stages
from spot_core.runs import Run
from spot_core.store.journal import read_journal
from tests.spot_core.pipeline.miniature import QUESTIONS


def test_a_disk_that_fills_up_in_a_stage_is_named_and_costs_no_row(small_disk, fake, configure):
    config = configure(store=str(small_disk / "store"))
    run = Run.create(config, "full")
    stages.prepare(run)
    ballast = small_disk / "ballast"

    def fill(body, before: int) -> None:
        if len(fake.answered) >= QUESTIONS // 4 and not ballast.exists():
            with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    fake.fault = fill
    with pytest.raises(StorageError, match="is full") as caught:
        stages.roll_out(run)
    assert str(small_disk) in str(caught.value)
    assert "rows.jsonl" in str(caught.value)
    assert "tmpfs" in str(caught.value)
    [journal] = (small_disk / "store").glob("rollout/*/0/.work/rows.jsonl")
    kept = [row["prompt_token_ids"] for row in read_journal(journal)]
    assert 0 < len(kept) < QUESTIONS

    ballast.unlink()
    fake.fault = lambda body, before: None
    asked = len(fake.asked)
    artifact = stages.roll_out(run)
    assert artifact.rows == QUESTIONS
    assert not [body for body in fake.asked[asked:] if body["prompt"] in kept]


def test_a_read_only_disk_is_named(small_disk, fake, configure):
    run = Run.create(configure(store=str(small_disk / "store")), "read-only")
    stages.prepare(run)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="is read-only"):
        stages.roll_out(run)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert stages.roll_out(run).rows == QUESTIONS


def test_an_error_that_names_no_file_names_the_folder_and_others_pass(tmp_path):
    with pytest.raises(StorageError, match=f"{tmp_path} cannot be written"), plain_disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), plain_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
