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
LOCK, OWNER = ".lease.lock", ".lease.json"


class Reminder:
    """Says who is waited for: at once, and again every half minute."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = -_REMIND_SECONDS

    def waits_for(self, holder: str) -> None:
        if time.monotonic() - self._said > _REMIND_SECONDS:
            self._said = time.monotonic()
            log.info("%s is being made by another process (%s): waiting for it", self._what, holder)


@contextmanager
def lease(folder: Path, *, what: str) -> Iterator[None]:
    """Holds the right to write below ``folder``; waits, saying so, while another process holds it."""
    lock = FileLock(folder / LOCK)
    reminder = Reminder(what)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except FileNotFoundError:  # the holder has removed the folder
            continue
        except Timeout:
            reminder.waits_for(_owner_of(folder / OWNER))
    try:
        (folder / OWNER).write_text(json.dumps(this_process()), encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def try_lease(folder: Path) -> Iterator[bool]:
    """Holds the right to write below ``folder`` if nobody else does; says whether."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def this_process() -> dict[str, str | int]:
    """What others are told about who holds a lease."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def described(held: dict) -> str:
    """A holder, for people."""
    return f"pid {held.get('pid')} on {held.get('host')}"


def _owner_of(path: Path) -> str:
    """For people only: the file may be one holder behind."""
    try:
        return described(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return "unknown"
