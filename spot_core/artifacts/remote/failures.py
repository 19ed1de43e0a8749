"""What an object store refuses, told so that a user can act on it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from spot_core.errors import ArtifactError, ConfigError, SpotError, StoreAwayError

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
