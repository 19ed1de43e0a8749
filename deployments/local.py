"""Prefect's server and a worker on this machine: started, found again, and stopped."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from rich.console import Console

from spot_core.config.dispatch import DispatchConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.store.manifest import write_atomically

REPOSITORY = Path(__file__).resolve().parents[1]
_FILE, POOLS_FILE = REPOSITORY / "prefect.yaml", REPOSITORY / "deployments" / "pools" / "prefect.yaml"
STATE = Path(os.environ.get("SPOT_STATE", REPOSITORY / ".spot"))
"""Process ids, logs, and Prefect's own files of the services started here."""
POOL = "spot-local"
POOLS = ("gpu", "cpu", "api")
"""Work pools of the topology in ``deployments/pools``."""
HEARTBEAT_SECONDS = 30  # the least that Prefect allows
START_SECONDS = 180
"""A flow's process starts within this time, on a busy machine too; else the worker that claimed its run is gone."""
_CLIENT_RETRIES = 7  # with doubled waits: four minutes
_SERVER_START_SECONDS = 180
_WORKER_QUERY_SECONDS = 2  # Prefect's default is 10, and a stage of a deployment waits for it
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Service:
    """A process that we started. The start time tells it from another that got the same id later."""

    name: str
    pid: int
    created: float
    api: str
    """Address of the Prefect API that it is or talks to."""

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def api_url() -> str:
    """Address of the Prefect API that this folder's commands talk to."""
    url = get_current_settings().api.url
    if not url:
        raise ConfigError("no Prefect API is configured: unset PREFECT_PROFILE or set PREFECT_API_URL")
    return str(url)


def ui_url() -> str:
    """Address of the Prefect UI."""
    return api_url().removesuffix("/api")


def server_answers() -> bool:
    """True if a Prefect server answers at `api_url`."""
    try:
        answer = httpx2.get(f"{api_url()}/health", timeout=5, trust_env=False)
    except httpx2.TransportError:
        return False
    return answer.status_code == httpx2.codes.OK and answer.text.strip() == "true"


def _services() -> list[Service]:
    path = STATE / "services.json"
    if not path.exists():
        return []
    return [Service(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _remember(services: list[Service]) -> None:
    write_atomically(STATE / "services.json", json.dumps([asdict(s) for s in services], indent=1))


def running(name: str) -> Service | None:
    """The named service of this Prefect API, if we started it and it still runs."""
    return next((s for s in _services() if s.name == name and s.api == api_url() and s.process()), None)


def _environment() -> dict[str, str]:
    home = STATE / "prefect"
    return {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),  # PREFECT_HOME alone does not move it
        "PREFECT_API_URL": api_url(),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # a pickle from a storage that others write to could run code
        "PREFECT_WORKER_QUERY_SECONDS": str(_WORKER_QUERY_SECONDS),
        # The default keeps leases in memory: a slot held while the server is restarted would never be free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A week, not a minute: of a run that was going on when the machine was switched off, the server finds out when it is
        # started again, and only by what it expected then.
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
        # A run goes on while the server or its database is away for some minutes; by default, for one and for none.
        "PREFECT_CLIENT_MAX_RETRIES": str(_CLIENT_RETRIES),
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        # Prefect notes outside of its database that it has registered its kinds of block, Secret among them: a database made
        # anew in the same place would have none.
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


def _start(name: str, command: list[str]) -> Service:
    log_path = STATE / "logs" / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            cwd=REPOSITORY,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # outlives this command; `make down` ends it
        )
    service = Service(name, process.pid, psutil.Process(process.pid).create_time(), api_url())
    _remember([*(s for s in _services() if s.process()), service])
    return service


def _log_tail(name: str, lines: int = 20) -> str:
    path = STATE / "logs" / f"{name}.log"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _is_local() -> bool:
    """True if the Prefect API is one of this machine, which alone `up` makes deployments and workers for."""
    return urlsplit(api_url()).hostname in ("127.0.0.1", "localhost", "::1")


def _is_ours() -> bool:
    """False for a cluster's server, which may be reached through this machine too (compose, `kubectl port-forward`)."""
    if not _is_local():
        return False
    if running("server") is not None:
        return True
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name("spot/full").work_pool_name == POOL
        except ObjectNotFound:  # nobody has deployed there yet
            return True


def _start_server() -> None:
    port = urlsplit(api_url()).port or 80
    if not _is_local():
        raise EngineError(
            f"no Prefect server answers at {api_url()}, and only a local one can be started from here"
        )
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError(
                f"port {port} is in use by something that is no Prefect server: "
                f"choose another, e.g. export PREFECT_API_URL=http://127.0.0.1:{port + 1}/api"
            )
    service = _start("server", ["server", "start", "--host", "127.0.0.1", "--port", str(port)])
    deadline = time.monotonic() + _SERVER_START_SECONDS
    while not server_answers():
        if service.process() is None or time.monotonic() > deadline:
            raise EngineError(f"the Prefect server did not start. The end of its log:\n{_log_tail('server')}")
        time.sleep(0.5)


def prefect(*arguments: str) -> None:
    """Runs a command of Prefect's to its end.

    Raises:
        EngineError: it failed; with what it said.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(
            f"`prefect {' '.join(arguments)}` failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )


def _deployed_state() -> str:
    """What the deployments were made from; they are made again when it changes."""
    sources = [_FILE, *sorted((REPOSITORY / "flows").glob("*.py"))]
    sources += sorted((REPOSITORY / "spot_core" / "config").glob("*.py"))
    sources += sorted((REPOSITORY / "deployments").glob("*.py"))
    sources += sorted((REPOSITORY / "deployments").glob("**/*.y*ml"))
    return "|".join(f"{p.name}:{p.stat().st_mtime_ns}" for p in sources)


def _deploy(*, pools: bool) -> None:
    """Makes the work pools, the deployments, the limit of the GPU and the automations; what is there is brought up to date,
    but for the limit, which is left as it is."""
    from deployments.automations import apply_unstarted_automation  # noqa: PLC0415

    for pool in POOLS if pools else (POOL,):
        prefect("work-pool", "create", pool, "--type", "process", "--overwrite")
    deploy_flows(POOLS_FILE if pools else _FILE)
    apply_unstarted_automation(START_SECONDS)


def deploy_flows(file: Path) -> None:
    """Makes the deployments of a file for `prefect deploy`, the limit of the GPU and the automations."""
    from deployments.automations import apply_unended_automation, apply_zombie_automation  # noqa: PLC0415

    prefect("deploy", "--all", "--prefect-file", str(file.relative_to(REPOSITORY)))
    _create_gpu_limit()
    apply_zombie_automation(HEARTBEAT_SECONDS)
    apply_unended_automation()


def _create_gpu_limit() -> None:
    name = DispatchConfig().gpu_limit
    assert name is not None, "the default names a limit"
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))


def up(console: Console, *, pools: bool | None = None) -> None:
    """Makes sure that a server answers, the flows are deployed and workers poll.

    On a cluster's server nothing is changed: its work pools and workers are not those of one machine.

    Args:
        console: where to say what is done.
        pools: True: to three work pools, as on a cluster. False: to one. None: as before, at first to one.

    Raises:
        ConfigError: the port is taken.
        EngineError: the server or the deployment failed; with the end of the log.
    """
    STATE.mkdir(exist_ok=True)
    fresh = not server_answers()
    if fresh:
        console.print(f"starting Prefect's server at {ui_url()} …")
        _start_server()
    if not _is_ours():
        console.print(
            f"the server at {api_url()} was not started from here: its deployments and workers are left as they are "
            "(python -m deployments.cluster deploys there)",
            soft_wrap=True,
        )
        return
    mark = STATE / "deployed.json"
    before = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else {}
    pools = bool(before.get("pools")) if pools is None else pools
    want = {"api": api_url(), "pools": pools, "sources": _deployed_state()}
    if fresh or before != want:
        console.print("deploying the flows …")
        _deploy(pools=pools)
        write_atomically(mark, json.dumps(want))
    for pool in POOLS if pools else (POOL,):
        name = f"worker-{pool}"
        if running(name) is None:
            console.print(f"starting a worker for the pool {pool} …")
            _start(name, ["worker", "start", "--pool", pool, "--type", "process", "--name", name])


def down(console: Console) -> None:
    """Stops what `up` started, and nothing else; waits until it is gone."""
    stopped = [service for service in reversed(_services()) if _stop(service)]
    _remember([])
    names = ", ".join(service.name for service in stopped)
    console.print(f"stopped: {names}" if stopped else "nothing of ours was running")


def _stop(service: Service) -> bool:
    process = service.process()
    if process is None:
        return False
    tree = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(tree, timeout=_STOP_SECONDS)
    for left in alive:
        left.kill()
    psutil.wait_procs(alive, timeout=_STOP_SECONDS)
    return True
