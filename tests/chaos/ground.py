"""The file system under the store: a small tmpfs of its own, which can be full or read-only for a while."""

import os
import subprocess
from pathlib import Path

from spot_core.errors import EngineError

_CHUNK = 256 * 1024


class Ground:
    """A folder to put the store into; on entering it is mounted, where this process may do that.

    Attributes:
        mounted: whether it is a file system of its own; if not it can be neither full nor read-only.
    """

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self.mounted = False
        self._read_only = 0

    def __enter__(self) -> "Ground":
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            size = f"size={self._megabytes}m"
            done = _mount("-t", "tmpfs", "-o", size, "tmpfs", str(self.folder))
            self.mounted = done.returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        self.writable()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def read_only(self) -> None:
        """From now on nothing can be created or opened for writing; files that are open for writing stay so.

        A remount is refused while files are open for writing, so a read-only view of the folder is laid over it.
        """
        for options in (["--bind"], ["-o", "remount,bind,ro"]):
            done = _mount(*options, *([str(self.folder)] if "--bind" in options else []), str(self.folder))
            if done.returncode:
                raise EngineError(f"mount {' '.join(options)} {self.folder}: {done.stderr}")
            self._read_only += "--bind" in options

    def writable(self) -> None:
        """Takes the read-only view away."""
        while self._read_only:
            self._read_only -= 1
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self) -> None:
        """Takes every free byte."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            for size in (_CHUNK, 4096, 1):
                while _written(descriptor, size):
                    pass
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        """Gives the bytes back."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


def _written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, bytes(size)) == size
    except OSError:
        return False


def _mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
