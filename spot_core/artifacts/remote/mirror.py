"""Journals of work that is not finished, kept in an object store piece by piece as they grow.

A piece is named ``<journal>/<lease>-<start>-<end>-<CRC-32>``: the bytes from start to end of what the holder of that
lease wrote. Where two holders wrote the same place, the later one counts: the earlier one was paused.
"""

import logging
import os
import re
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from spot_core.artifacts.remote.objects import Objects
from spot_core.errors import ArtifactError, ConfigError

log = logging.getLogger(__name__)

PUSH_SECONDS = 5.0
"""How much of unfinished work a lost machine may cost, beside what was in flight."""
_PIECE_BYTES = 8 * 2**20
_PIECE = re.compile(r"(\d+)-(\d+)-(\d+)-([0-9a-f]{8})")


class _Piece(NamedTuple):
    lease: int
    start: int
    end: int
    crc: int
    name: str


def _chain(pieces: list[_Piece]) -> Iterator[_Piece]:
    """The pieces that make up a journal from its beginning on, without a gap."""
    end = lease = 0
    while True:
        following = [p for p in pieces if p.start <= end < p.end and p.lease >= lease]
        if not following:
            return
        piece = max(following, key=lambda p: (p.lease, p.end))
        yield piece
        end, lease = piece.end, piece.lease


class JournalMirror:
    """Carries the ``.jsonl`` files of a local folder to a folder of the store, and back to a machine that lacks them.

    Args:
        objects: the store.
        folder: on this machine.
        remote: its name in the store.
        lease: number of the lease under which the journals are written; 0 if each has a writer of its own.
        lost: whether the lease was lost, so that nothing is to be written any more.
    """

    def __init__(
        self,
        objects: Objects,
        folder: Path,
        remote: str,
        *,
        lease: int = 0,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._objects, self._folder, self._remote = objects, folder, remote
        self._lease, self._lost = lease, lost
        self._pushed: dict[str, int] = {}  # bytes of each journal that the store has
        self._mutex = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"mirror of {remote}", daemon=True)

    def restore(self, *, grown_elsewhere: bool = False) -> None:
        """Completes the local journals from what the store has.

        Args:
            grown_elsewhere: journals are continued by different machines, so that what is here may differ from what
                is there; which then counts.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        pieces: defaultdict[str, list[_Piece]] = defaultdict(list)
        for name in self._objects.listing(self._remote):
            journal, _, piece = name.removeprefix(f"{self._remote}/").rpartition("/")
            if match := _PIECE.fullmatch(piece):
                lease, start, end = (int(match[i]) for i in (1, 2, 3))
                pieces[journal].append(_Piece(lease, start, end, int(match[4], 16), name))
        with FileLock(self._folder / ".mirror.lock"):
            for journal, found in pieces.items():
                chain = list(_chain(found))
                if not chain:
                    continue
                path = self._folder / journal
                if grown_elsewhere or _size(path) < chain[-1].end:
                    self._complete(path, chain)
                self._pushed[journal] = chain[-1].end

    def _complete(self, path: Path, chain: list[_Piece]) -> None:
        same = _common(path, chain)
        rest = [piece for piece in chain if piece.end > same]
        if not rest:
            return
        contents = self._objects.read_many([piece.name for piece in rest])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as file:
            file.seek(same)
            if replaced := len(file.read()):
                log.warning("%s: its last %d bytes are replaced by what the store has", path, replaced)
                file.seek(same)
            for piece, content in zip(rest, contents, strict=True):
                if zlib.crc32(content) != piece.crc:
                    raise ArtifactError(
                        f"{piece.name} in the store {self._objects.location} does not match its checksum: remove it, and "
                        "what is in it is made again"
                    )
                file.write(content[file.tell() - piece.start :])
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        log.info("%s: restored from the store, %d bytes", path, path.stat().st_size)

    def push(self) -> None:
        """Writes what was added since the last time; only whole lines.

        Raises:
            ArtifactError: the store cannot be reached.
        """
        with self._mutex:
            for path in sorted(self._folder.glob("*.jsonl")):
                while not self._lost() and self._push_piece(path):
                    pass

    def _push_piece(self, path: Path) -> bool:
        start = self._pushed.get(path.name, 0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(_PIECE_BYTES)
            if data and not data.endswith(b"\n"):
                data = data[: data.rfind(b"\n") + 1] or data + file.readline()
        if not data.endswith(b"\n"):
            return False
        end = start + len(data)
        piece = f"{self._lease:08d}-{start:012d}-{end:012d}-{zlib.crc32(data):08x}"
        self._objects.write(f"{self._remote}/{path.name}/{piece}", data)
        self._pushed[path.name] = end
        return True

    def start(self) -> None:
        """Pushes every few seconds from now on, until `stop`."""
        self._thread.start()

    def _keep(self) -> None:
        while not self._ended.wait(PUSH_SECONDS):
            self._try_to_push()

    def _try_to_push(self) -> None:
        try:
            self.push()
        except (ArtifactError, ConfigError, OSError) as error:  # what is here stays here, and is pushed later
            log.warning("the journals of %s could not be copied to the store yet: %s", self._remote, error)

    def stop(self, *, discard: bool = False) -> None:
        """Ends the pushing, with all that is there; ``discard`` instead removes every piece from the store."""
        self._ended.set()
        self._thread.join()
        if not discard:
            self._try_to_push()
            return
        try:
            self._objects.remove(self._objects.listing(self._remote))
        except (ArtifactError, ConfigError) as error:
            log.warning("journals of %s stay in the store until `spot gc`: %s", self._remote, error)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _common(path: Path, chain: list[_Piece]) -> int:
    """How many bytes of a local journal are those of the chain."""
    size, same = _size(path), 0
    if not size:
        return 0
    with path.open("rb") as file:
        for piece in chain:
            if piece.end > size:
                break
            file.seek(piece.start)
            if zlib.crc32(file.read(piece.end - piece.start)) != piece.crc:
                break
            same = piece.end
    return same
