"""What a user does who looks after a run: starts it, and retries it when it has failed or crashed."""

import logging
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil

from spot_core.errors import EngineError
from tests.chaos.processes import send
from tests.chaos.topology import Topology

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 3.0  # Prefect marks a run Crashed that is retried within a second of its end
_LOST_SECONDS = 15.0  # how long a run may be Running or Pending without a process
_HEARTBEATS_SECONDS = 480.0  # within which the automation must have noticed
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Caretaker:
    """One run of `spot/full`.

    Attributes:
        automatic: how many runs without a process are left to the automation to be marked Crashed; each takes minutes,
            so the others are marked here, by what is known of the processes.
        retries: how often the run was retried.
        crashed_by_automation: how often the automation marked it.
        said: why it failed, attempt by attempt.
    """

    topology: Topology
    parameters: dict[str, Any]
    automatic: int = 0
    retries: int = 0
    marked: int = 0
    crashed_by_automation: int = 0
    said: list[str] = field(default_factory=list)
    flow_run: str = ""
    state: str = ""
    _alone_since: float | None = None
    _final_since: float | None = None

    def start(self) -> None:
        """Submits the run."""
        deployment = self._call("GET", "/deployments/name/spot/full")["id"]
        made = self._call(
            "POST",
            f"/deployments/{deployment}/create_flow_run",
            json={"parameters": self.parameters, "state": {"type": "SCHEDULED"}},
        )
        self.flow_run = made["id"]

    def look(self) -> bool:
        """Looks once and does what is to be done; True once the run has completed. A server that is away is waited for."""
        try:
            state = self._call("GET", f"/flow_runs/{self.flow_run}")["state"]
            self.state = state["type"]
            return self._tend(state)
        except httpx2.TransportError:
            return False
        except httpx2.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise
            return False  # its database is away

    def _tend(self, state: dict[str, Any]) -> bool:
        now = time.monotonic()
        if self.state not in _FINAL:
            self._final_since = None
            self._look_for_its_process(state, now)
            return False
        if self.state == "COMPLETED":
            return True
        self._alone_since = None
        self._final_since = self._final_since or now
        if now - self._final_since > _SETTLE_SECONDS:
            if "heartbeat" in (state["message"] or ""):
                self.crashed_by_automation += 1
            self.said.append(f"{state['name']}: {state['message']}")
            log.info("the run is %s; retried. %s", state["name"], (state["message"] or "")[:300])
            self._set_state({"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"})
            self.retries += 1
            self._final_since = None
        return False

    def _look_for_its_process(self, state: dict[str, Any], now: float) -> None:
        """Marks a run Crashed that has lost its process, which the automation does later."""
        if self.state not in ("RUNNING", "PENDING") or self.topology.family.flows():
            self._alone_since = None
            return
        self._alone_since = self._alone_since or now
        alone = now - self._alone_since
        if self.state == "RUNNING" and self.automatic > 0:
            if alone > _HEARTBEATS_SECONDS:
                raise EngineError(
                    f"the run has no process for {alone:.0f} s, and no automation marked it Crashed"
                )
            return
        if alone > _LOST_SECONDS:
            log.info("the run is %s without a process: marked Crashed", state["name"])
            self._set_state(
                {"type": "CRASHED", "name": "Crashed", "message": "its process is gone"}, force=True
            )
            self.marked += 1
            self._alone_since = None

    def _set_state(self, state: dict[str, str], *, force: bool = False) -> None:
        self._call("POST", f"/flow_runs/{self.flow_run}/set_state", json={"state": state, "force": force})

    def _call(self, method: str, path: str, **more: Any) -> Any:
        answer = httpx2.request(method, f"{self.topology.api}{path}", timeout=30, trust_env=False, **more)
        answer.raise_for_status()
        return answer.json()

    def end(self) -> None:
        """Ends the run's processes, where it was given up."""
        for process in self.topology.family.flows():
            send(process, signal.SIGTERM)
        psutil.wait_procs(self.topology.family.flows(), timeout=30)
