"""An append-only journal: a row given to it survives kill -9 of the process that wrote it."""

import errno
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from spot_core.errors import ArtifactError

log = logging.getLogger(__name__)


def _encode(record: dict[str, Any]) -> bytes:
    # surrogatepass would write invalid UTF-8; JSON's \u escapes keep lone surrogates of model output as they are.
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _decode(line: bytes) -> dict[str, Any] | None:
    if len(line) < 10 or not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    body = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(body):
            return None
    except ValueError:
        return None
    return json.loads(body)


class Placed(NamedTuple):
    """A record, and the bytes of its journal at which it begins and ends."""

    start: int
    end: int
    record: dict[str, Any]


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a journal up to the first one that was not written whole."""
    end = 0
    for placed in scan_journal(path):
        yield placed.record
        end = placed.end
    if path.exists() and path.stat().st_size > end:
        log.warning("%s: the last record was cut by a crash and is made again", path)


def scan_journal(path: Path, *, start: int = 0) -> Iterator[Placed]:
    """Yields the whole records from byte ``start`` on; stops at one that was cut, or is being written just now."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            record = _decode(line)
            if record is None:
                return
            yield Placed(start, start + len(line), record)
            start += len(line)


def record_at(path: Path, offset: int) -> dict[str, Any]:
    """Returns the record that begins where `scan_journal` or `Journal.append` said.

    Raises:
        ArtifactError: it is not there any more: the file was changed from outside.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            record = _decode(file.readline())
    except FileNotFoundError:
        record = None
    if record is None:
        raise ArtifactError(f"{path} was changed while it was in use: there is no record at byte {offset}")
    return record


class Journal:
    """Appends JSON records to a file, one write call each; one writer at a time.

    On opening, what follows the last whole record (a crash in the middle of a write) is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if _decode(line) is None:
                        break
                    whole += len(line)
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._fd, whole)
        os.lseek(self._fd, whole, os.SEEK_SET)
        self._whole = whole

    def hold(self) -> None:
        """Lets `is_held` say of this journal that it is being written, until it is closed or the process ends."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def append(self, record: dict[str, Any]) -> int:
        """Writes one record and returns its offset; when this returns, the record outlives the process.

        Raises:
            OSError: the disk is full or gone. The journal keeps every earlier record.
        """
        data = _encode(record)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            error.filename = str(self.path)
            raise
        if written != len(data):
            os.ftruncate(self._fd, self._whole)
            os.lseek(self._fd, self._whole, os.SEEK_SET)
            said = f"only {written} of {len(data)} bytes were written"
            raise OSError(errno.ENOSPC, said, str(self.path))
        self._whole += written
        return self._whole - written

    def sync(self) -> None:
        """Waits until the disk has what was appended, so that it outlives the machine too."""
        os.fsync(self._fd)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return read_journal(self.path)

    def close(self) -> None:
        """Flushes to the disk and closes the file."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_held(path: Path) -> bool:
    """Whether another open journal of this path, in whichever process, is held."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_plain_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a plain JSON Lines file written by a process that has ended."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
