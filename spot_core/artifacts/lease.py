"""One writer per artifact key, across processes: a file lock that the kernel frees when its holder dies."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_REMIND_SECONDS = 30.0


@contextmanager
def lease(folder: Path, *, what: str) -> Iterator[None]:
    """Holds the right to write below ``folder``; waits, saying so, while another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lease.lock")
    owner = folder / ".lease.json"
    reminded = -_REMIND_SECONDS
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            if time.monotonic() - reminded > _REMIND_SECONDS:
                reminded = time.monotonic()
                log.info("%s is being made by another process (%s): waiting for it", what, _owner_of(owner))
    try:
        owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
        yield
    finally:
        lock.release()


def _owner_of(path: Path) -> str:
    """For people only: the file may be one holder behind."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "unknown"
    return f"pid {held.get('pid')} on {held.get('host')}"
