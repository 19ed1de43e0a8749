"""What a small installation has: PostgreSQL, Prefect's server on it, a worker, a store, and an Oracle's endpoint."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx2

from benchmarks.chaos.database import Database
from benchmarks.chaos.ground import Ground
from benchmarks.chaos.processes import MARK, Family
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.services import Service, Supervisor, until
from spot_core.errors import EngineError
from tests.e2e.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[2]
_START_SECONDS = 300.0
_QUERY_SECONDS = "2"  # between two looks of a worker for runs
_STORE_MEGABYTES = 256
_KEY = "sk-chaos-0123456789"
_TEACHER = "benchmarks.chaos.teacher:edited"


class Topology:
    """Everything that runs besides the run itself; on leaving the context nothing of it is left.

    Attributes:
        store: folder of the store under faults, on a file system of its own where mounting is allowed.
        calm_store: folder of the store of undisturbed runs.
        oracle: settings of the Oracle behind the network.
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
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_HOME": str(home / "state" / "prefect"),
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
            self._start_oracle(stack)
            self._start_server(postgres)
            self._start_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _service(self, name: str, arguments: list[str]) -> Service:
        command = [sys.executable, "-m", *arguments]
        return self._look_after(Service(name, command, self.env, self._log(name), REPOSITORY))

    def _look_after(self, service: Service) -> Service:
        service.start()
        self.supervisor.add(service)
        return service

    def _start_oracle(self, stack: ExitStack) -> None:
        port = free_port()
        self._service(
            "oracle",
            [
                "tests.spot_core.inference.fake_openai", "--port", str(port), "--log", str(self.calls),
                "--seconds", str(self._oracle_seconds), "--chat", _TEACHER,
            ],
        )  # fmt: skip
        self.proxy = stack.enter_context(Proxy(port))
        self.oracle: dict[str, Any] = {
            "kind": "openai",
            "model": "teacher",
            "base_url": f"http://127.0.0.1:{self.proxy.port}/v1",
            "concurrency": 8,
            "timeout_seconds": 60,
            "attempts": 1,
        }

    def _start_server(self, postgres: Postgres) -> None:
        self.supervisor.add(Database(postgres))
        self.env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = postgres.connection_url
        port = self.api.split(":")[2].split("/")[0]
        server = self._service(
            "server", ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        )
        until(self.answers, _START_SECONDS, "Prefect's server answers", log=server)

    def _start_workers(self) -> None:
        """Deploys as a user does, and takes over the workers that this has started."""
        command = [str(Path(sys.executable).parent / "spot"), "up"]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EngineError(f"`spot up` failed:\n{done.stdout}{done.stderr}")
        for number, worker in enumerate(list(self.family.running("worker", "start"))):
            command, env = worker.cmdline(), worker.environ()
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)
            # The flows that a worker has started outlive it.
            self._look_after(
                Service(
                    f"worker-{number}", command, env, self._log(f"worker-{number}"), REPOSITORY, whole=False
                )
            )

    def answers(self) -> bool:
        """Whether Prefect's server is up."""
        try:
            return httpx2.get(f"{self.api}/health", timeout=5, trust_env=False).text.strip() == "true"
        except httpx2.TransportError:
            return False

    def workers(self) -> list[Service]:
        """The worker of each pool."""
        return [
            s for s in self.supervisor.services if isinstance(s, Service) and s.name.startswith("worker-")
        ]

    def heads(self) -> set[int]:
        """Process ids of the services."""
        return {service.pid for service in self.supervisor.services if service.pid is not None}


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_home() -> Path:
    """A folder for all of it."""
    return Path(tempfile.mkdtemp(prefix="spot-chaos-"))
