"""What a small installation has: PostgreSQL, Prefect's server on it, a worker, a store, and an Oracle's endpoint."""

import os
import subprocess
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from spot_core.errors import EngineError
from spot_core.processes.supervised import free_port
from tests.chaos.ground import Ground
from tests.chaos.processes import MARK, Family
from tests.chaos.proxy import Proxy
from tests.chaos.services import Database, Service, Supervised, Supervisor
from tests.e2e.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[2]
_QUERY_SECONDS = "2"  # between two looks of a worker for runs
_STORE_MEGABYTES = 256
_KEY = "sk-chaos-0123456789"
_TEACHER = "tests.chaos.teacher:edited"


class Topology:
    """Everything that runs besides the run itself; on leaving the context nothing of it is left.

    Attributes:
        store: folder of the store under faults, on a file system of its own where mounting is allowed.
        calm_store: folder of the store of undisturbed runs.
        oracle: settings of the Oracle behind the network; calm_oracle: of one that nothing happens to.
        family: all processes that belong to this.
    """

    def __init__(self, home: Path, *, oracle_seconds: float) -> None:
        self.home = home
        self.family = Family(mark := uuid.uuid4().hex)
        self.supervisor = Supervisor()
        self.ground = Ground(home / "ground", megabytes=_STORE_MEGABYTES)
        self.store, self.calm_store = home / "ground" / "store", home / "calm"
        self.calls = home / "calls.jsonl"
        self._oracle_seconds = oracle_seconds
        self._stack = ExitStack()
        self.api = f"http://127.0.0.1:{free_port()}/api"
        self.env = os.environ | {
            MARK: mark,
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": _QUERY_SECONDS,
            "SPOT_STATE": str(home / "state"),
            "OPENAI_API_KEY": _KEY,
            "DO_NOT_TRACK": "1",
            "COLUMNS": "200",
        }

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.family.end)
            stack.enter_context(self.ground)
            postgres = stack.enter_context(Postgres())
            stack.callback(self.supervisor.close)
            (self.home / "logs").mkdir()
            self.supervisor.add(Database(postgres))
            self._start_oracles(stack)
            self._start_prefect(postgres)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _start_oracles(self, stack: ExitStack) -> None:
        """One behind the network that is cut, and one for the run in peace, so that calls are counted apart."""
        self.proxy = stack.enter_context(Proxy(self._endpoint("oracle", self.calls)))
        self.oracle = _oracle(self.proxy.port)
        self.calm_oracle = _oracle(self._endpoint("calm-oracle", None))

    def _endpoint(self, name: str, calls: Path | None) -> int:
        port = free_port()
        command = [sys.executable, "-m", "tests.spot_core.inference.fake_openai", "--port", str(port)]
        command += ["--chat", _TEACHER, "--seconds", str(self._oracle_seconds)]
        command += [] if calls is None else ["--log", str(calls)]
        service = Service(name, command, self.env, self._log(name), REPOSITORY)
        service.start()
        self.supervisor.add(service)
        return port

    def _start_prefect(self, postgres: Postgres) -> None:
        """Does what a user does, and takes over the services that this has started."""
        self.env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = postgres.connection_url
        command = [str(Path(sys.executable).parent / "spot"), "up"]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EngineError(f"`spot up` failed:\n{done.stdout}{done.stderr}")
        self._take_over("server", ("server", "start"), whole=True)
        self._take_over(
            "worker", ("worker", "start"), whole=False
        )  # the flows that it has started outlive it

    def _take_over(self, name: str, words: tuple[str, ...], *, whole: bool) -> None:
        found = list(self.family.running("-m prefect", *words))
        if not found:
            raise EngineError(f"`spot up` has started no {' '.join(words)}")
        for number, process in enumerate(found):
            called = f"{name}-{number}"
            self.supervisor.add(
                Service(
                    called,
                    process.cmdline(),
                    process.environ(),
                    self._log(called),
                    REPOSITORY,
                    whole,
                    1,
                    process,
                )
            )

    def services(self, name: str) -> list[Supervised]:
        """Those of a kind: `postgres`, `server`, `worker`."""
        return [service for service in self.supervisor.services if service.name.startswith(name)]

    def heads(self) -> set[int]:
        """Process ids of the services."""
        return {service.pid for service in self.supervisor.services if service.pid is not None}


def _oracle(port: int) -> dict[str, Any]:
    return {
        "kind": "openai",
        "model": "teacher",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "concurrency": 8,
        "timeout_seconds": 60,
        "attempts": 1,
    }


def make_home() -> Path:
    """A folder for all of it."""
    return Path(tempfile.mkdtemp(prefix="spot-chaos-"))
