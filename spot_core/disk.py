"""Says plainly what is the matter when a file cannot be written: which file, on which file system, and what to do."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from spot_core.errors import StorageError

_MATTER = {
    errno.ENOSPC: "is full. Free space",
    errno.EDQUOT: "grants this user no more space. Free some, or have the quota raised",
    errno.EROFS: "is read-only. Mount it writable (a disk with errors is remounted so: see dmesg)",
}


@contextmanager
def plain_disk_errors(folder: Path) -> Iterator[None]:
    """Turns errors of a full or read-only disk into a `StorageError`, whoever meets them; others pass.

    Args:
        folder: where files are written, for errors that do not name theirs.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _MATTER:
            raise
        path = Path(error.filename) if isinstance(error.filename, str) else folder
        raise StorageError(
            f"{path} cannot be written: {_file_system(path)} {_MATTER[error.errno]}; what was finished is kept, and a "
            "retry goes on from there"
        ) from error


def _file_system(path: Path) -> str:
    """The file system that a path is or would be on, with its free space: "/data (ext4, 0 of 100 GB free)"."""
    place = path.absolute()
    while not place.exists() or not os.path.ismount(place):
        place = place.parent
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    usage = shutil.disk_usage(place)
    room = f"{usage.free / 1e9:.3g} of {usage.total / 1e9:.3g} GB free"
    return f"the file system {place} ({', '.join(filter(None, [kinds.get(str(place)), room]))})"
