"""A real Prefect server and worker of the tests' own: another port, another home, another store than daily use."""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from spot_core.processes.supervised import free_port
from tests.spot_core.inference.fake_openai import FakeOpenAI

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

SMALL = {
    "questions.count": 160,
    "train.epochs": 1,
    "train.checkpoint_every_steps": 1,
    "evaluate.datasets": [],
}
"""The demo, small enough for a test; a test that evaluates names its data sets."""


class Pipeline:
    """What a user has: the commands `spot` and `prefect`, and the store on disk."""

    def __init__(self, home: Path) -> None:
        self.api = f"http://127.0.0.1:{free_port()}/api"
        self.store = home / "store"
        self.state_folder = home / "state"
        self.env = os.environ | {
            "PREFECT_API_URL": self.api,
            "SPOT_STATE": str(self.state_folder),
            "COLUMNS": "200",
        }

    def at(self, store: Path) -> "Pipeline":
        """The same services with another store."""
        other = copy.copy(self)
        other.store = store
        return other

    def command(self, name: str, *arguments: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its output and status are the test's business."""
        return subprocess.run(
            [str(BIN / name), *arguments],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def settings(self, **more: Any) -> list[str]:
        """Arguments for `spot run`: the small demo with some settings changed; `__` stands for a dot."""
        changed = SMALL | {"store": str(self.store)} | {k.replace("__", "."): v for k, v in more.items()}
        return [part for key, value in changed.items() for part in ("--set", f"{key}={json.dumps(value)}")]

    def run(self, run_name: str, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs the flow through its deployment and waits."""
        return self.command("spot", "run", "--run-name", run_name, *arguments, *self.settings(**settings))

    def start(self, run_name: str, **settings: Any) -> "subprocess.Popen[str]":
        """The same without waiting."""
        return subprocess.Popen(
            [str(BIN / "spot"), "run", "--run-name", run_name, *self.settings(**settings)],
            cwd=REPOSITORY,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def summary(self, run_name: str) -> dict[str, Any]:
        return json.loads((self.store / "runs" / run_name / "summary.json").read_text())

    def record(self, run_name: str) -> dict[str, Any]:
        return json.loads((self.store / "runs" / run_name / "run.json").read_text())

    def made(self) -> dict[str, int]:
        """When each artifact was completed, by its folder."""
        return {
            str(p.parent.relative_to(self.store)): p.stat().st_mtime_ns
            for p in self.store.glob("*/*/*/manifest.json")
        }

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What Prefect's server answers: to GET, or with a body to POST. A busy one is asked again, as Prefect's clients do."""

        def answer() -> httpx2.Response | None:
            method = "GET" if body is None else "POST"
            came = httpx2.request(method, f"{self.api}/{path}", json=body, trust_env=False, timeout=30)
            return None if came.status_code == httpx2.codes.SERVICE_UNAVAILABLE else came

        came = eventually(answer, 30, f"the server answers {path}")
        assert came.is_success, came.text
        return came.json()

    def flow_run(self, run_name: str, flow: str = "spot") -> dict[str, Any]:
        """The newest flow run of a flow that was given this run name."""
        found = self.ask("flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"})
        return next(r for r in found if r["parameters"].get("run_name") == run_name)

    def submit(self, run_name: str, config: dict[str, Any], **parameters: Any) -> str:
        """Submits `spot/full` as the UI does; the id of the flow run."""
        deployment = self.ask("deployments/name/spot/full")["id"]
        parameters |= {"run_name": run_name, "config": config}
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ask(f"deployments/{deployment}/create_flow_run", body)["id"]

    def set_state(self, flow_run_id: str, kind: str, name: str) -> None:
        """What the UI's buttons send: Retry (AwaitingRetry), Cancel (Cancelling)."""
        answer = self.ask(
            f"flow_runs/{flow_run_id}/set_state", {"state": {"type": kind, "name": name}, "force": True}
        )
        assert answer["status"] == "ACCEPT", answer

    def retry_in_ui(self, flow_run_id: str) -> None:
        """Retries a flow run that ended, once its process is gone: before, its worker would take the retry for the crash."""
        eventually(lambda: not self.of_flow_runs(flow_run_id), 30, "the process of the flow run is gone")
        time.sleep(1)
        self.set_state(flow_run_id, "SCHEDULED", "AwaitingRetry")

    def read(self, flow_run_id: str) -> dict[str, Any]:
        return self.ask(f"flow_runs/{flow_run_id}")

    def state(self, flow_run_id: str) -> str:
        return self.read(flow_run_id)["state"]["name"]

    def ended(self, flow_run_id: str, seconds: float = 120) -> dict[str, Any]:
        """Waits for the end of a flow run and returns its last state."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        def last() -> dict[str, Any] | None:
            state = self.read(flow_run_id)["state"]
            return state if state["type"] in ends else None

        return eventually(last, seconds, f"flow run {flow_run_id} ends")

    def children(self, flow_run_id: str) -> list[dict[str, Any]]:
        """The stages that a flow run began, in their order, each with the name of its flow as `flow`."""
        found = self.ask(
            "flow_runs/filter",
            {
                "flow_runs": {"parent_flow_run_id": {"any_": [flow_run_id]}},
                "sort": "EXPECTED_START_TIME_ASC",
            },
        )
        return [run | {"flow": self.ask(f"flows/{run['flow_id']}")["name"]} for run in found]

    def of_flow_runs(self, *ids: str) -> list[psutil.Process]:
        """Processes of these flow runs, and what they started."""
        found = []
        for process in psutil.process_iter():
            try:
                owner = process.environ().get("PREFECT__FLOW_RUN_ID", "")
                if owner in ids and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _started(self, process: psutil.Process) -> bool:
        return process.environ().get("PREFECT_API_URL") == self.api

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this pipeline, and of no other that is tested beside it, whose command line holds all the words."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                ours = all(word in line for word in words) and self._started(process)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


def eventually(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Waits until the condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.25)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@pytest.fixture
def teacher() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Services that are up, and stopped at the end."""
    pipeline = Pipeline(tmp_path_factory.mktemp("e2e"))
    try:
        up = pipeline.command("spot", "up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield pipeline
    finally:
        pipeline.command("spot", "down")
