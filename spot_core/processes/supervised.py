"""A child process with its own session, log file and a guard that ends its tree with the parent."""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from spot_core.processes.guard import GRACE_SECONDS

_LOG_TAIL_BYTES = 64_000


class SupervisedProcess:
    """Starts ``command`` on entering the context and ends its whole process tree on leaving it.

    Args:
        command: program and arguments.
        log_path: file that receives standard output and error; appended to, parents are created.
        env: variables set on top of this process's environment.
    """

    def __init__(self, command: list[str], *, log_path: Path, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.log_path = log_path
        self._env = {**os.environ, **(env or {})}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "spot_core.processes.guard", "--", *self.command],
                stdin=subprocess.PIPE,  # the leash: closes when this process dies
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the guard, the root of the tree."""
        assert self._guard is not None, "not started"
        return self._guard.pid

    def poll(self) -> int | None:
        """Exit status of the command, or None while it runs."""
        assert self._guard is not None, "not started"
        return self._guard.poll()

    def stop(self) -> None:
        """Ends the process tree and waits until it is gone; does nothing if it has ended."""
        if self._guard is None:
            return
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait(timeout=GRACE_SECONDS * 6)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log, for error messages."""
        if not self.log_path.exists():
            return "(no log was written)"
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - _LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
