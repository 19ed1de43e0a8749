"""Files of an artifact, up to the object store and down again, never half."""

import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from spot_core.artifacts.hashing import VerifiedFiles, file_sha256
from spot_core.artifacts.journal import Journal
from spot_core.artifacts.manifest import FileEntry
from spot_core.artifacts.remote.objects import ObjectInfo, Objects
from spot_core.errors import ArtifactError

log = logging.getLogger(__name__)

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
