"""A child process with its own session, a log that is followed line by line, and guards that end its tree with the parent."""

import contextlib
import contextvars
import heapq
import logging
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from spot_core.processes.diagnosis import (
    Finding,
    Symptoms,
    clean,
    diagnose,
    find_first_error,
    is_noise,
    severity,
)
from spot_core.processes.guard import GRACE_SECONDS, POLL_SECONDS
from spot_core.processes.secrets import redacted, without_secrets

log = logging.getLogger(__name__)


def free_port() -> int:
    """A loopback port that is free now; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


INTERVAL_SECONDS = 5.0
MOST_LINES = 20
"""Passed on per interval. Warnings and errors come first, then what came first."""
_MOST_LOOKED_AT = 5_000
"""Lines per interval; of more, only those that look like a warning or an error are."""
_CHUNK_BYTES = 2**16
_LOUD = (b"rror", b"ERR", b"WARN", b"arning", b"Traceback")
_LONGEST_LINE = 2**20
"""Bytes kept of a line that does not end."""


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


TAIL_LINES = 20
_READ_BYTES = 2**20
"""Of the end of a log, to find out what went wrong."""
_MARK = "SPOT_SUPERVISED"
_STOP_SECONDS = 6 * GRACE_SECONDS


class SupervisedProcess:
    """Starts ``command`` on entering the context and ends its whole process tree on leaving it.

    The command sees the environment of this process without its keys and passwords. What it writes goes into the log
    file, after a line that says when and by whom it was started, and from there, cleaned and at a bounded rate, to a
    logger.

    Args:
        command: program and arguments.
        name: what it is, before every line of it that is passed on: "vLLM".
        log_path: file that receives standard output and error; appended to, parents are created.
        env: variables set on top.
    """

    def __init__(
        self, command: list[str], *, name: str, log_path: Path, env: dict[str, str] | None = None
    ) -> None:
        self.command = command
        self.name = name
        self.log_path = log_path
        self._mark = uuid.uuid4().hex
        self._env = {**without_secrets(os.environ), **(env or {}), _MARK: self._mark}
        self._guard: subprocess.Popen[bytes] | None = None
        self._follower: LogFollower | None = None
        self._offset = 0

    def __enter__(self) -> Self:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as file:
            file.write(
                f"=== {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, started by process {os.getpid()}: ".encode()
            )
            file.write(f"{redacted(shlex.join(self.command))}\n".encode())
            file.flush()
            self._offset = file.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "spot_core.processes.guard", str(os.getpid()), "--", *self.command],
                stdin=subprocess.PIPE,  # the leash: closes when this process dies
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        log.info("%s: log: %s", self.name, self.log_path.absolute())
        self._follower = LogFollower(self.log_path, offset=self._offset, name=self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the outer guard, the root of the tree."""
        assert self._guard is not None, "not started"
        return self._guard.pid

    def tree(self) -> list[psutil.Process]:
        """The guards, the command and all its descendants that are alive."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def poll(self) -> int | None:
        """Exit status of the command, 128 + N if signal N ended it, or None while it runs."""
        assert self._guard is not None, "not started"
        status = self._guard.poll()
        return status if status is None or status >= 0 else 128 - status

    def stop(self) -> None:
        """Ends the process tree and waits until it is gone; does nothing if it has ended."""
        if self._guard is None:
            return
        if self._follower is not None:
            self._follower.finish()  # before: what an engine says when it is ended is in the file only
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout=_STOP_SECONDS)
        if self._guard.returncode is None or self._guard.returncode < 0:
            self._end_without_guard()

    def _end_without_guard(self) -> None:
        """Ends what is left when the outer guard was killed, in case the inner one was too."""
        deadline = time.monotonic() + _STOP_SECONDS
        grace = time.monotonic() + 2 * GRACE_SECONDS  # the inner guard's time
        while left := [process for process in psutil.process_iter() if self._is_ours(process)]:
            if time.monotonic() > deadline:
                log.error("%s: these processes cannot be ended: %s", self.name, [p.pid for p in left])
                return
            if time.monotonic() > grace:
                for process in left:
                    process.kill()
            psutil.wait_procs(left, timeout=POLL_SECONDS)

    def _is_ours(self, process: psutil.Process) -> bool:
        """By its process group (some programs overwrite their environment) or its mark (some make groups)."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return os.getpgid(process.pid) == self.pid or process.environ().get(_MARK) == self._mark
        except (psutil.Error, ProcessLookupError):
            return False

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of this attempt that say something, as they are passed on."""
        return "\n".join(self._lines()[-lines:])

    def diagnosis(self, symptoms: Symptoms) -> Finding | None:
        """Why this attempt failed, if its exit status and log tell, or the disk of its log."""
        found = diagnose(self.poll(), self._lines(), symptoms)
        if found is None and shutil.disk_usage(self.log_path.parent).free == 0:
            # It could not even say so.
            return Finding(
                "disk-full", f"the disk of {self.log_path.parent} is full. Free space; a retry goes on"
            )
        return found

    def account(self, what: str, symptoms: Symptoms, *, then: str = "") -> str:
        """What happened and why as far as it is known; in lines of their own the error that the log has first, what to do
        ``then``, and the end of the log."""
        found = self.diagnosis(symptoms)
        parts = [f"{what}: {found.said}" if found else what]
        if said := (found.line if found else "") or find_first_error(self._lines()):
            parts.append(f"It says: {said}")
        if then:
            parts.append(then)
        tail = self.log_tail() or "(nothing was written)"
        return "\n".join([*parts, f"The end of {self.log_path.absolute()}:", tail])

    def _lines(self) -> list[str]:
        with self.log_path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._offset, size - _READ_BYTES))
            lines = [clean(line) for line in file.read().split(b"\n")]
        return [line for line in lines if not is_noise(line)]
