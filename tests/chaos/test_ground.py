"""The store's own file system: full or read-only for a while, and whole again after."""

import errno
from pathlib import Path

import pytest

from tests.chaos.ground import Ground


@pytest.fixture
def ground(tmp_path: Path):
    with Ground(tmp_path / "ground", megabytes=4) as ground:
        if not ground.mounted:
            pytest.skip("no file system can be mounted here: that needs root")
        yield ground


def test_a_read_only_store_takes_no_new_file_and_keeps_those_that_are_open(ground: Ground):
    with (ground.folder / "open").open("wb", buffering=0) as open_before:
        ground.read_only()
        assert open_before.write(b"x") == 1
        with pytest.raises(OSError) as refused:
            (ground.folder / "new").write_bytes(b"x")
        assert refused.value.errno == errno.EROFS
        ground.writable()
    (ground.folder / "new").write_bytes(b"x")
    assert (ground.folder / "open").read_bytes() == b"x"


def test_a_full_store_takes_no_byte_until_there_is_room(ground: Ground):
    ground.fill()
    with pytest.raises(OSError) as refused:
        (ground.folder / "new").write_bytes(b"x")
    assert refused.value.errno == errno.ENOSPC
    ground.make_room()
    (ground.folder / "new").write_bytes(b"x")
    assert [path.name for path in ground.folder.iterdir()] == ["new"]
