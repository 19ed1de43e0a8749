"""Files between this machine and an object store: those of an artifact, never half; the journals of unfinished work, piece by
piece as they grow; and the scratch folder for both.

A piece is named ``<journal>/<lease>-<start>-<end>-<CRC-32>``: the bytes from start to end of what the holder of that
lease wrote. Where two holders wrote the same place, the later one counts: the earlier one was paused."""

import hashlib
import logging
import os
import re
import threading
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import platformdirs
from filelock import FileLock

from spot_core.errors import ArtifactError, ConfigError
from spot_core.store.journal import Journal
from spot_core.store.manifest import FileEntry, VerifiedFiles, file_sha256, write_atomically
from spot_core.store.s3.objects import ObjectInfo, Objects

log = logging.getLogger(__name__)

SCRATCH = "SPOT_SCRATCH"
"""Environment variable: folder for unfinished work and copies of artifacts, of every store that is no folder."""


def scratch_of(location: str) -> Path:
    """The scratch folder of a store: below ``SPOT_SCRATCH``, else in the user's cache."""
    base = os.environ.get(SCRATCH)
    parent = Path(base).expanduser() if base else platformdirs.user_cache_path("spot-pipeline") / "stores"
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", location).strip("-")[:60]
    return parent.resolve() / f"{readable}-{hashlib.sha256(location.encode()).hexdigest()[:8]}"


def identity_of(root: Path) -> str:
    """What tells this scratch folder from that of another machine; made up once."""
    path = root / ".scratch-id"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            # A process id is none: containers that share the folder all have a process 1.
            write_atomically(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


_FILES_AT_ONCE = 4
_DOWNLOADS_BEFORE_DAMAGED = 2
"""Of the same object; a hash that is wrong twice is no slip of the network."""


def upload(
    objects: Objects, folder: Path, entries: list[FileEntry], remote: str, *, record: Path
) -> dict[str, str]:
    """Uploads files to ``remote/<path>`` and returns the store's tag of each.

    Files that ``record`` says were uploaded, by an attempt that was killed, are not uploaded again.

    Raises:
        ArtifactError: the store cannot be reached, or does not have what was uploaded.
    """
    with Journal(record) as uploaded:
        there = objects.listing(remote)
        known = {line["path"]: line["sha256"] for line in uploaded}

        def is_there(entry: FileEntry) -> bool:
            info = there.get(f"{remote}/{entry.path}")
            return info is not None and info.bytes == entry.bytes and known.get(entry.path) == entry.sha256

        missing = [entry for entry in entries if not is_there(entry)]
        if len(missing) < len(entries):
            log.info(
                "%s: %d of %d files are uploaded already", remote, len(entries) - len(missing), len(entries)
            )

        def send(entry: FileEntry) -> FileEntry:
            objects.upload(folder / entry.path, f"{remote}/{entry.path}")
            return entry

        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            for entry in pool.map(send, missing):
                uploaded.append({"path": entry.path, "sha256": entry.sha256})
    there = objects.listing(remote)
    for entry in entries:
        if problem := difference(there, f"{remote}/{entry.path}", entry):
            raise ArtifactError(f"{problem} right after it was uploaded to {objects.location}")
    return {entry.path: there[f"{remote}/{entry.path}"].etag for entry in entries}


def difference(there: dict[str, ObjectInfo], name: str, entry: FileEntry) -> str:
    """What a listing says against an object being this file; empty if nothing."""
    info = there.get(name)
    if info is None:
        return f"{name} is missing"
    return "" if info.bytes == entry.bytes else f"{name} has {info.bytes} bytes instead of {entry.bytes}"


class Cache:
    """Files of artifacts on this machine, each with the content that a manifest says or not there."""

    def __init__(self, objects: Objects, root: Path) -> None:
        self._objects, self._root = objects, root
        self._files = VerifiedFiles()

    def fetch(self, folder: Path, entries: list[FileEntry], name_of: Callable[[FileEntry], str]) -> str:
        """Downloads what is not in ``folder`` yet; returns what is wrong with the objects, or an empty text."""
        missing = [entry for entry in entries if not self._has(folder, entry)]
        if not missing:
            return ""
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetch.lock"):  # several stages of one machine want the same file
            for entry in missing:
                if not self._has(folder, entry) and (problem := self.download(folder, entry, name_of(entry))):
                    return problem
        log.info(
            "%s: fetched %d files, %d bytes", folder, len(missing), sum(entry.bytes for entry in missing)
        )
        return ""

    def _has(self, folder: Path, entry: FileEntry) -> bool:
        return self._files.match(folder / entry.path, size=entry.bytes, sha256=entry.sha256)

    def download(self, folder: Path, entry: FileEntry, name: str) -> str:
        """Downloads one file whatever is there; returns what is wrong with the object, or an empty text."""
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.half")
        try:
            for _ in range(_DOWNLOADS_BEFORE_DAMAGED):
                if not self._objects.download(name, half):
                    return f"{name} is missing"
                if file_sha256(half) == entry.sha256:
                    half.replace(path)
                    return ""
        finally:
            half.unlink(missing_ok=True)
        return f"{name} does not match its hash"


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
