"""The services of docker/compose.yaml as processes of this machine: their commands, environment, order and health checks.

What a container would have of its own (addresses, ports, folders) is put in; the rest is taken from the compose file and
the Dockerfile as it stands, so that a mistake there shows here.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil
import yaml

from spot_core.processes.supervised import free_port
from tests.docker.dockerfile import REPOSITORY, entrypoint, environment, health_command
from tests.e2e.postgres import Postgres

BIN = Path(sys.executable).parent
_READY_SECONDS = 240
_STOP_SECONDS = 60


class Topology:
    """Database, server and the workers of three pools; entering starts them in the order that they wait for each other.

    Args:
        home: folder for logs and state.
        files: what the files that `env_file` names hold, by name, e.g. ``oracle.env``.

    Attributes:
        api: asks the server, with its password.
        secrets: what docker/new-secrets.sh made up.
        logs: the output of every service.
    """

    def __init__(self, home: Path, *, files: dict[str, dict[str, str]]) -> None:
        self._services: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker/compose.yaml").read_text())[
            "services"
        ]
        # The stand-in for the GPU worker where there is no GPU; its twin needs one.
        del self._services["worker-gpu"]
        self._home = home
        self._files = files
        self.logs = home / "logs"
        self.logs.mkdir(parents=True)
        self.secrets = _new_secrets(home)
        self.port = free_port()
        self._health_ports = {name: free_port() for name in self._services}
        self.postgres = Postgres(user="prefect", password=self.secrets["POSTGRES_PASSWORD"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        user, _, password = self.secrets["PREFECT_API_AUTH_STRING"].partition(":")
        self.api = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}/api", auth=(user, password), trust_env=False, timeout=60
        )

    def __enter__(self) -> Self:
        try:
            database, *others = self._in_order()
            assert database == "database"
            self.postgres.__enter__()
            for name in others:
                self._start(name)
                if self._services[name].get("restart") == "no":
                    status = self.processes[name].wait(_READY_SECONDS)
                    assert status == 0, f"{name} ended with {status}:\n{self.log(name)}"
                else:
                    self._wait_until_healthy(name)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _in_order(self) -> Iterator[str]:
        left = {name: set(service.get("depends_on", {})) for name, service in self._services.items()}
        while left:
            ready = [name for name, needed in left.items() if not needed & set(left)]
            assert ready, f"these wait for each other: {', '.join(left)}"
            for name in ready:
                del left[name]
                yield name

    @property
    def left(self) -> list[Path]:
        """Folders with what services wrote: logs, Prefect's files, results; not those with the secrets themselves."""
        return [path for path in self._home.iterdir() if path.name != "docker"] + [self.postgres.folder]

    @property
    def results(self) -> Path:
        """The volume that all workers keep results in."""
        return self._home / environment()["PREFECT_LOCAL_STORAGE_PATH"].lstrip("/")

    def save_secret(self, name: str, value: str) -> None:
        """Makes a Secret block."""
        program = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save(sys.argv[1])"
        done = self.command("python", "-c", program, name, given=value)
        assert done.returncode == 0, done.stderr

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def environment_of(self, name: str) -> dict[str, str]:
        """The environment of a service, with this machine's addresses and folders in place of a container's."""
        service = self._services[name]
        given = dict(environment())
        for file in service.get("env_file", []):
            assert not file["required"] or file["path"] in self._files, f"{name} needs {file['path']}"
            given |= self._files.get(file["path"], {})
        given |= {
            variable: self._filled_in(value) for variable, value in service.get("environment", {}).items()
        }
        # As a volume that all workers share; else each service has its own.
        del given["PREFECT_LOCAL_STORAGE_PATH"]
        given = {variable: self._here(value, name) for variable, value in given.items() if variable != "PATH"}
        given["PREFECT_LOCAL_STORAGE_PATH"] = str(self.results)
        given["PREFECT_WORKER_WEBSERVER_PORT"] = str(self._health_ports[name])
        if given.get("PREFECT_SERVER_DATABASE_HOST") == "database":
            given |= {
                "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
                "PREFECT_SERVER_DATABASE_PORT": str(self.postgres.port),
            }
        ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return ours | {"PATH": f"{BIN}:{os.environ['PATH']}"} | given

    def _filled_in(self, value: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            name, sign, rest = match.groups()
            assert sign == ":-" or name in self.secrets, f"{name} is not set: {rest}"
            return self.secrets.get(name, rest)

        return re.sub(r"\$\{(\w+)(:[?-])([^}]*)\}", replaced, value)

    def _here(self, text: str, name: str) -> str:
        text = re.sub(r"http://(server|127\.0\.0\.1):4200", f"http://127.0.0.1:{self.port}", text)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self._health_ports[name]}")
        text = text.replace("/spot/docker/", f"{REPOSITORY}/docker/")
        return text.replace("/var/lib/spot", str(self._home / name))

    def _command(self, name: str) -> list[str]:
        service = self._services[name]
        whole = service.get("entrypoint", entrypoint()) + service["command"]
        assert whole[:2] == ["/usr/bin/tini", "--"]
        words = [self._here(word, name) for word in whole[2:]]
        return ["127.0.0.1" if w == "0.0.0.0" else str(self.port) if w == "4200" else w for w in words]  # noqa: S104

    def _start(self, name: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(name),
                cwd=REPOSITORY,  # the image's /spot
                env=self.environment_of(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def healthy(self, name: str) -> bool:
        """What the health check of the compose file, or of the image, says."""
        test = self._services[name].get("healthcheck", {}).get("test")
        command = test[1:] if test else health_command()
        command = [self._here(word, name) for word in command]
        return (
            subprocess.run(
                command, env=self.environment_of(name), capture_output=True, check=False
            ).returncode
            == 0
        )

    def _wait_until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.healthy(name):
            status = self.processes[name].poll()
            assert status is None, f"{name} ended with {status}:\n{self.log(name)[-3000:]}"
            assert time.monotonic() < deadline, f"{name} is not healthy:\n{self.log(name)[-3000:]}"
            time.sleep(1)

    def command(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command of this environment as somebody who has the server's password."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        access = {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_API_AUTH_STRING": self.secrets["PREFECT_API_AUTH_STRING"],
            "PREFECT_HOME": str(self._home / "user"),
        }
        return subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=REPOSITORY, env=ours | access, input=given, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip

    def _stop(self) -> None:
        """As `docker compose down`: SIGTERM to each service's first process, what depends on others first."""
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                tree = psutil.Process(process.pid).children(recursive=True)
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                _, alive = psutil.wait_procs(tree, timeout=_STOP_SECONDS)
                for left in alive:
                    left.kill()
        self.api.close()
        if self.postgres.folder.exists():
            self.postgres.close()


def _new_secrets(home: Path) -> dict[str, str]:
    """What docker/new-secrets.sh puts into `.env`."""
    (folder := home / "docker").mkdir()
    script = shutil.copy(REPOSITORY / "docker" / "new-secrets.sh", folder)
    subprocess.run([script], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())
