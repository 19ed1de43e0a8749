"""Services that are started again when they die, as systemd or Kubernetes would."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from tests.chaos.processes import lives, send
from tests.e2e.postgres import Postgres

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 20.0
_BACK_OFF_SECONDS = 2.0


@dataclass
class Service:
    """One service, in a session of its own.

    Attributes:
        whole: its children go with it when it dies, as in a container.
        starts: how often it was started.
        process: the running one; what somebody else has started is taken over with it.
    """

    name: str
    command: list[str]
    env: dict[str, str]
    log_path: Path
    cwd: Path
    whole: bool = True
    starts: int = 0
    process: psutil.Process | None = field(default=None, repr=False)

    def start(self) -> None:
        """Starts it, after the end of what is left of the one before."""
        self._end_group()
        with self.log_path.open("ab") as log:
            self.process = psutil.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1

    @property
    def pid(self) -> int | None:
        """Process id of its first process."""
        return None if self.process is None else self.process.pid

    @property
    def died(self) -> bool:
        return self.process is not None and not lives(self.process)

    def stop(self) -> None:
        """Asks it to end, and makes it."""
        if self.process is None:
            return
        send(self.process, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while lives(self.process) and time.monotonic() < deadline:
            time.sleep(0.1)
        send(self.process, signal.SIGKILL)
        self._end_group()

    def _end_group(self) -> None:
        if self.process is None or not self.whole:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def log_tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


class Database:
    """PostgreSQL as a `Supervised` service: wraps a `Postgres` whose context has been entered."""

    name = "postgres"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.starts = 1

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster."""
        return None if self._postgres.process is None else self._postgres.process.pid

    @property
    def died(self) -> bool:
        process = self._postgres.process
        try:
            return process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def start(self) -> None:
        """Starts it again on the same data."""
        self._postgres.start()
        self.starts += 1

    def stop(self) -> None:
        """Ends it in order."""
        self._postgres.stop()


class Supervised(Protocol):
    """What can be looked after: a `Service`, or what starts and ends by other means."""

    name: str
    starts: int

    @property
    def pid(self) -> int | None: ...
    @property
    def died(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Supervisor:
    """Starts services in order, and again when they die; stops them in reverse order."""

    def __init__(self) -> None:
        self.services: list[Supervised] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._lock = threading.Lock()

    def add(self, service: Supervised) -> None:
        """Looks after a service that has been started."""
        with self._lock:
            self.services.append(service)
        if not self._thread.is_alive():
            self._thread.start()

    def named(self, name: str) -> Supervised:
        return next(service for service in self.services if service.name == name)

    def restarts(self) -> int:
        """How often a service had to be started again."""
        return sum(service.starts - 1 for service in self.services)

    def _watch(self) -> None:
        started: dict[str, float] = {}
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                for service in self.services:
                    # One that dies at once (its database is away) is not started in a tight loop.
                    if service.died and time.monotonic() - started.get(service.name, 0.0) > _BACK_OFF_SECONDS:
                        started[service.name] = time.monotonic()
                        service.start()

    def close(self) -> None:
        """Stops all of them."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for service in reversed(self.services):
            service.stop()
