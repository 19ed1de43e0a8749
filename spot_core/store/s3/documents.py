"""Small documents that several processes change: every version is an object of its own, so no change is lost.

Versions are never removed: a process that was paused while it made the next one would create it a second time, and not
know that others have gone on from it. What changes often and is written by one process is no document of this kind.
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from spot_core.store.s3.objects import Objects

_VERSION = re.compile(r"/(\d{6,})\.json$")


def read(objects: Objects, name: str) -> tuple[int, str | None]:
    """Number and text of the latest version; -1 and None if there is none."""
    versions = [int(m[1]) for n in objects.listing(_folder(name)) if (m := _VERSION.search(n))]
    if not versions:
        return -1, None
    data = objects.read(_version(name, max(versions)))
    return max(versions), None if data is None else data.decode(errors="replace")


def update(objects: Objects, name: str, change: Callable[[str | None], str]) -> str:
    """Adds the version that ``change`` makes of the latest one; begins again if another process was faster."""
    while True:
        number, text = read(objects, name)
        changed = change(text)
        if changed == text or objects.create(_version(name, number + 1), changed.encode()):
            return changed


def _folder(name: str) -> str:
    """``runs/x/run.json`` is kept in ``runs/x/run``."""
    return str(PurePosixPath(name).with_suffix(""))


def _version(name: str, number: int) -> str:
    return f"{_folder(name)}/{number:06d}.json"
