"""A PostgreSQL server of its own for a test: on a loopback port, with a password, in a folder that is removed."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from spot_core.processes.supervised import free_port

_START_SECONDS = 60
_STOP_SECONDS = 30


def programs() -> Path | None:
    """Folder of the newest PostgreSQL that is installed (Debian's place, else PATH), or None."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    if debian := sorted(versions, key=lambda path: int(path.parts[-3])):
        return debian[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


MISSING = "PostgreSQL is not installed (Debian and Ubuntu: apt install postgresql)"
"""Why a test that needs it is skipped."""


class Postgres:
    """One database `prefect`; starts when entered, and can be stopped, killed and started again on the same data.

    The server refuses to run as root: it then runs as the user `postgres` of Debian's package.
    """

    def __init__(self, *, user: str = "spot", password: str | None = None) -> None:
        found = programs()
        assert found is not None, MISSING
        self._bin = found
        self._system_user = "postgres" if os.geteuid() == 0 else None
        self._user = user
        self._password = password or secrets.token_urlsafe(16)
        self.port = free_port()
        # Not below pytest's own folder: that is closed to other users.
        self.folder = Path(tempfile.mkdtemp(prefix="spot-postgres-"))
        self.log = self.folder / "server.log"
        self.process: psutil.Process | None = None

    @property
    def connection_url(self) -> str:
        """What PREFECT_API_DATABASE_CONNECTION_URL wants."""
        return f"postgresql+asyncpg://{self._user}:{self._password}@127.0.0.1:{self.port}/prefect"

    def __enter__(self) -> Self:
        try:
            self._make()
            self.start()
            self.sql("CREATE DATABASE prefect", database="postgres")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if self._system_user:
            for path in (self.folder, password):
                shutil.chown(path, self._system_user, self._system_user)
        self._run(
            "initdb",
            *("--pgdata", str(self.folder / "data"), "--username", self._user, "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )
        password.unlink()

    def _command(self, program: str, *arguments: str) -> dict:
        return {
            "args": [str(self._bin / program), *arguments],
            "cwd": self.folder,
            "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGPASSWORD": self._password},
            "stdin": subprocess.DEVNULL,
            "user": self._system_user,
            "group": self._system_user,
            "extra_groups": [] if self._system_user else None,
        }

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            **self._command(program, *arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sql(self, statement: str, *, database: str = "prefect") -> str:
        """Runs a statement and returns what it gives, a row a line, columns parted by `|`."""
        options = ("--no-psqlrc", "--tuples-only", "--no-align", "--dbname", database, "--command", statement)
        return self._run("psql", *self._where, *options)

    def dump(self) -> str:
        """Everything in the database `prefect`, as SQL."""
        return self._run("pg_dump", *self._where, "prefect")

    @property
    def _where(self) -> tuple[str, ...]:
        return ("--host", "127.0.0.1", "--port", str(self.port), "--username", self._user)

    def start(self) -> None:
        """Starts the server and waits until it answers; after `kill` it recovers from its log first."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",  # outlives the death of processes, not of the machine: enough for a test
            "max_connections": 200,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", str(self.folder / "data"), *options)
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                **command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.process = psutil.Process(started.pid)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            ended = started.poll() is not None
            assert not ended and time.monotonic() < deadline, f"PostgreSQL did not start:\n{self.log_tail()}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        done = subprocess.run(
            **self._command("pg_isready", *where), capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def log_tail(self, lines: int = 20) -> str:
        """The end of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the server in order: open connections are cut, nothing that was committed is lost."""
        if self.process is None:
            return
        with suppress(psutil.NoSuchProcess):
            self.process.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
        self._wait()

    def kill(self) -> None:
        """kill -9 of the server and all its processes."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            for process in [*self.process.children(recursive=True), self.process]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        _, alive = psutil.wait_procs([self.process], timeout=_STOP_SECONDS)
        assert not alive, f"PostgreSQL did not end within {_STOP_SECONDS} s:\n{self.log_tail()}"
        self.process = None

    def close(self) -> None:
        """Ends the server and removes what there is of it."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder)
