"""An object store below one prefix: the few operations that everything else is made of, and what it refuses, said so that a
user can act on it."""

import errno
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from fsspec.core import url_to_fs

from spot_core.errors import ArtifactError, ConfigError, SpotError, StoreAwayError

log = logging.getLogger(__name__)

INSTALL = ".venv/bin/uv pip install --python .venv/bin/python {package}"
_WHERE = "AWS_ENDPOINT_URL (unset: AWS) and AWS_DEFAULT_REGION say where it is"
_WHO = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that boto3 finds, say who you are"


class ConflictError(Exception):
    """A conditional write was refused, since the object exists."""


class MissingError(Exception):
    """There is no such object."""


class BusyError(Exception):
    """The store asks to send the same request again: two of them met."""


@contextmanager
def told(location: str, what: str, *, first: bool) -> Iterator[None]:
    """Turns what fsspec and botocore raise into errors of ours.

    Args:
        location: the store, as the user gave it.
        what: what was being done, e.g. ``reading x``.
        first: nothing has worked yet in this process: then the settings are to blame, later the network or the store.

    Raises:
        ConfigError: wrong address, credentials, bucket, or a store that cannot do what is needed.
        StoreAwayError: the store does not answer, or cannot for the moment.
        ArtifactError: anything else.
        ConflictError, MissingError, BusyError: for callers in this room.
    """
    try:
        yield
    except SpotError:
        raise
    except NotImplementedError as error:
        raise ConfigError(
            f"store = {location!r}: this kind of store cannot be written to ({what}): use a folder or s3://…"
        ) from error
    except Exception as error:
        # botocore's errors share no base with Python's, and its package may not be there to name them
        if not (isinstance(error, OSError | ValueError) or type(error).__module__.startswith(_LIBRARIES)):
            raise
        raise _translated(error, location, what, first=first) from error


_LIBRARIES = ("botocore.", "aiobotocore.", "aiohttp.", "fsspec.", "s3fs.", "gcsfs.", "adlfs.", "azure.")


def _translated(error: Exception, location: str, what: str, *, first: bool) -> Exception:
    if known := _for_this_room(error, what) or _for_the_user(error, location, what):
        return known
    said = f"{type(error).__name__}: {error}"
    if first:
        return ConfigError(f"store = {location!r} cannot be used ({said}): {_WHERE}")
    kind = StoreAwayError if _is_away(error) else ArtifactError
    return kind(f"{what} in the store {location} failed ({said}). What was done is kept: run the stage again")


def _is_away(error: Exception) -> bool:
    """Whether the same request may succeed in a while: nobody answered, or the server is to blame."""
    _, status = _answer(error)
    if status:
        return status in (429, 500, 502, 503, 504)
    return isinstance(error, OSError) or any(base.__name__ in _TRANSPORT for base in type(error).__mro__)


_TRANSPORT = ("HTTPClientError", "ConnectionError", "ClientConnectionError", "ClientPayloadError")
"""Of botocore and aiohttp: timeouts, connections refused and cut off."""


def _for_this_room(error: Exception, what: str) -> Exception | None:
    code, status = _answer(error)
    if isinstance(error, FileExistsError) or status == 412:
        return ConflictError(what)
    if status == 409:
        return BusyError(what)
    if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
        return MissingError(what)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return error  # it is the disk of this machine
    return None


def _for_the_user(error: Exception, location: str, what: str) -> ConfigError | None:
    if _answer(error)[0] == "NoSuchBucket":
        return ConfigError(
            f"store = {location!r}: there is no such bucket. Create it, or correct the name; {_WHERE}"
        )
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return ConfigError(f"store = {location!r}: no credentials were found: {_WHO}")
    if isinstance(error, PermissionError):
        return ConfigError(f"store = {location!r}: {what} is not allowed ({error}): {_WHO}")
    return None


def _answer(error: Exception) -> tuple[str, int]:
    """Code and HTTP status that an S3 server gave, if it answered."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return (
                str(response.get("Error", {}).get("Code", "")),
                int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
            )
    return "", 0


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
