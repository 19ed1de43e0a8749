"""Passes on what a process writes to its log file, as lines of a Python logger: cleaned, and not too many of them."""

import contextvars
import heapq
import logging
import os
import threading
from pathlib import Path

from spot_core.processes.lines import clean, is_noise, severity

INTERVAL_SECONDS = 5.0
MOST_LINES = 20
"""Passed on per interval. Warnings and errors come first, then what came first."""
_MOST_LOOKED_AT = 5_000
"""Lines per interval; of more, only those that look like a warning or an error are."""
_CHUNK_BYTES = 2**16
_LOUD = (b"rror", b"ERR", b"WARN", b"arning", b"Traceback")
_LONGEST_LINE = 2**20
"""Bytes kept of a line that does not end."""

log = logging.getLogger(__name__)


class LogFollower:
    """Follows a log file from an offset, in a thread, until it is told to finish.

    The thread works in a copy of the caller's context, so that Prefect shows the lines in the caller's run.

    Args:
        path: the file; it exists.
        offset: where this attempt's lines begin.
        name: what stands before every line.
    """

    def __init__(self, path: Path, *, offset: int, name: str) -> None:
        self._path = path
        self._offset = offset
        self._name = name
        self._rest = b""
        self._finished = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._follow,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Passes on what has been written until now, and ends; may be called again."""
        self._finished.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            over = False
            while not over:
                over = self._finished.wait(INTERVAL_SECONDS)
                batch = _Batch()
                end = os.fstat(file.fileno()).st_size  # more may come while we read
                while file.tell() < end and (chunk := file.read(_CHUNK_BYTES)):
                    *whole, self._rest = (self._rest + chunk).split(b"\n")
                    self._rest = self._rest[-_LONGEST_LINE:]
                    for line in whole:
                        batch.add(line)
                if over and self._rest:
                    batch.add(self._rest)
                self._pass_on(batch)

    def _pass_on(self, batch: "_Batch") -> None:
        for level, line in batch.chosen():
            log.log(level, "%s | %s", self._name, line)
        if batch.left_out:
            log.info(
                "%s | … %d lines left out; all of them are in %s", self._name, batch.left_out, self._path
            )


class _Batch:
    """The lines of one interval that are worth most; the others are counted."""

    def __init__(self) -> None:
        self._number = 0
        self._kept: list[tuple[int, int, str]] = []  # a heap: the least worth first
        self.left_out = 0

    def add(self, raw: bytes) -> None:
        if self._number > _MOST_LOOKED_AT and not any(word in raw for word in _LOUD):
            self.left_out += 1
            return
        line = clean(raw)
        if is_noise(line):
            return
        self._number += 1
        heapq.heappush(self._kept, (severity(line), -self._number, line))
        if len(self._kept) > MOST_LINES:
            heapq.heappop(self._kept)
            self.left_out += 1

    def chosen(self) -> list[tuple[int, str]]:
        """Levels and lines in the order in which they were written."""
        return [(level, line) for level, _, line in sorted(self._kept, key=lambda kept: -kept[1])]
