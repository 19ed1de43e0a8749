"""An object store below one prefix: the few operations that everything else is made of."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from fsspec.core import url_to_fs

from spot_core.artifacts.remote.failures import INSTALL, BusyError, ConflictError, MissingError, told
from spot_core.errors import ConfigError

log = logging.getLogger(__name__)

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PROBE = ".spot-store"
_BUSY_TRIES = 5
_READ_AT_ONCE = 128
_WORKED: set[str] = set()
"""Stores that have answered this process: what fails there later is no wrong setting."""
_CONNECTIONS_PER_FILE = 2
"""Of a large file; each holds 50 MB in memory."""


class ObjectInfo(NamedTuple):
    """What a listing says about an object.

    ``etag`` changes when its content does, and may change without (a copy between buckets); empty if there is none.
    """

    bytes: int
    etag: str
    modified: float


class Objects:
    """Objects by their names below ``location``, e.g. ``s3://bucket/spot``.

    Raises:
        ConfigError: no package reads this kind of store. Everything else is found out at the first request.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        protocol = location.split("://", maxsplit=1)[0]
        try:
            self._fs, root = url_to_fs(self.location, **_options(protocol))
        except ImportError as error:
            package = _PACKAGES.get(protocol, protocol)
            raise ConfigError(
                f"store = {location!r} needs the package {package}: {INSTALL.format(package=package)}"
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"store = {location!r}: {error}; use a folder, or s3://bucket/folder"
            ) from error
        self._root = root.rstrip("/")
        self._conditional = False
        self._probing = Lock()

    def _path(self, name: str) -> str:
        assert not name or is_plain(name), f"{name} is no name of an object"
        return f"{self._root}/{name}" if name else self._root

    def _do(self, what: str, call: str, *arguments: Any, **options: Any) -> Any:
        with told(self.location, what, first=self.location not in _WORKED):
            result = getattr(self._fs, call)(*arguments, **options)
        _WORKED.add(self.location)
        return result

    def listing(self, folder: str = "") -> dict[str, ObjectInfo]:
        """Every object below a folder, by its name; none that could not be a file of the same name."""
        try:
            found = self._do(f"listing {folder or 'everything'}", "find", self._path(folder), detail=True)
        except MissingError:
            return {}
        start = len(self._root) + 1
        return {
            path[start:]: _info(entry)
            for path, entry in found.items()
            if entry["type"] == "file"
            and path.startswith(f"{self._path(folder)}/")
            and is_plain(path[start:])
        }

    def read(self, name: str) -> bytes | None:
        """An object's content; None if there is none."""
        try:
            return self._do(f"reading {name}", "cat_file", self._path(name))
        except MissingError:
            return None

    def read_many(self, names: list[str]) -> list[bytes]:
        """The contents of objects that are there, at the same time, in their order."""
        contents: list[bytes] = []
        for start in range(0, len(names), _READ_AT_ONCE):
            paths = [self._path(name) for name in names[start : start + _READ_AT_ONCE]]
            found = self._do(f"reading {len(paths)} objects", "cat", paths)
            contents += [found[path] for path in paths]
        return contents

    def create(self, name: str, data: bytes) -> bool:
        """Writes an object if there is none of this name, and says whether its content now is ``data``.

        A request whose answer was lost is sent again below us and then meets the object that it has made itself: so
        the content decides who made it. It has to be different for every writer.

        Raises:
            ConfigError: the store does not know conditional writes.
        """
        self._require_conditional_writes()
        if self._create(name, data):
            return True
        return self.read(name) == data

    def _create(self, name: str, data: bytes) -> bool:
        for attempt in range(_BUSY_TRIES):
            try:
                self._do(f"creating {name}", "pipe_file", self._path(name), data, mode="create")
                return True
            except ConflictError:
                return False
            except BusyError:
                time.sleep(0.1 * 2**attempt)
        return False

    def _require_conditional_writes(self) -> None:
        """An object that stays there: creating it must be refused, but for the first time."""
        with self._probing:
            if self._conditional:
                return
            if self._create(_PROBE, b"") and self._create(_PROBE, b""):
                raise ConfigError(
                    f"store = {self.location!r} ignores 'If-None-Match: *': it would let two writers complete the same "
                    "artifact. Use a store with conditional writes (AWS S3, MinIO, Cloudflare R2, Ceph, …)"
                )
            self._conditional = True

    def write(self, name: str, data: bytes) -> None:
        """Writes an object, whatever is there."""
        self._do(f"writing {name}", "pipe_file", self._path(name), data)

    def upload(self, path: Path, name: str) -> None:
        """Writes a file as an object, in pieces if it is large; it appears whole or not at all."""
        self._do(f"uploading {name}", "put_file", str(path), self._path(name))

    def download(self, name: str, path: Path) -> bool:
        """Writes an object's content to a file; False if there is no such object."""
        try:
            self._do(f"downloading {name}", "get_file", self._path(name), str(path))
        except MissingError:
            return False
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; those that are not there are no error."""
        paths = [self._path(name) for name in names]
        try:
            if paths:
                self._do(f"removing {len(paths)} objects", "rm", paths)
        except MissingError:
            return


def is_plain(name: str) -> bool:
    """Whether a file of this name, relative to a folder, lies in that folder."""
    return not {"", ".", ".."} & set(name.split("/"))


def _options(protocol: str) -> dict[str, Any]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in ("s3", "s3a"):
        retries = {"mode": "standard", "total_max_attempts": 4}
        options |= {"max_concurrency": _CONNECTIONS_PER_FILE, "config_kwargs": {"retries": retries}}
    return options


def _info(entry: dict[str, Any]) -> ObjectInfo:
    modified = entry.get("LastModified") or entry.get("mtime") or entry.get("last_modified")
    stamp = modified.timestamp() if hasattr(modified, "timestamp") else 0.0
    return ObjectInfo(int(entry["size"]), str(entry.get("ETag") or entry.get("etag") or ""), stamp)
