"""What holds for all tests."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Here, so that a process has one S3 server: s3fs goes on with the address that it was first told.
from tests.chromium import browser  # noqa: F401
from tests.machines import fake_machine  # noqa: F401
from tests.qwen3 import qwen3_model, qwen3_tokenizer  # noqa: F401
from tests.stores import bucket, kept, location, make_bucket, s3_server  # noqa: F401

settings.register_profile("spot", deadline=None)  # how fast a machine is says nothing about the code
settings.load_profile("spot")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small file system needs root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
