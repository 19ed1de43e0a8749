"""A PostgreSQL of one's own on a loopback port, made from the programs of the distribution."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from benchmarks.chaos.services import Service
from spot_core.errors import ConfigError, EngineError

_USER = "postgres"  # PostgreSQL refuses to run as root
_DATABASE = "prefect"


def programs() -> Path:
    """Folder of the newest PostgreSQL's programs.

    Raises:
        ConfigError: there is none.
    """
    if found := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3])):
        return found[-1].parent
    if beside := shutil.which("initdb"):
        return Path(beside).resolve().parent
    raise ConfigError("no PostgreSQL is installed here (initdb): apt-get install postgresql")


def make_postgres(folder: Path, env: dict[str, str], *, log_path: Path) -> tuple[Service, str]:
    """A service that runs a new database cluster below ``folder``, and the address of its database for SQLAlchemy.

    Raises:
        EngineError: the cluster could not be made.
    """
    user = _USER if os.geteuid() == 0 else None
    folder.mkdir(parents=True)
    if user is not None:
        shutil.chown(folder, user)
    _run(
        [programs() / "initdb", "-D", folder / "data", "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
        user,
    )
    port = free_port()
    command = [
        *(str(programs() / "postgres"), "-D", str(folder / "data")),
        *("-h", "127.0.0.1", "-p", str(port), "-k", str(folder)),
    ]
    service = Service(
        "postgres", command, env, log_path, folder, user=user, whole=False, stop_with=signal.SIGINT
    )
    return service, f"postgresql+asyncpg://{_USER}@127.0.0.1:{port}/{_DATABASE}"


def create_database(address: str) -> bool:
    """Makes the database at an address; False while nobody answers there.

    Raises:
        EngineError: it answers, and the database could not be made.
    """
    port = address.rsplit(":", maxsplit=1)[1].split("/", maxsplit=1)[0]
    where = ["-h", "127.0.0.1", "-p", port, "-U", _USER]
    if subprocess.run([programs() / "pg_isready", *where], capture_output=True, check=False).returncode:
        return False
    _run([programs() / "createdb", *where, _DATABASE], None)
    return True


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
