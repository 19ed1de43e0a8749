"""The page of a run in the Prefect UI: one Markdown artifact, kept up to date while the flow goes on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import Logger, LoggerAdapter
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError, TerminationSignal
from prefect.logging import get_run_logger

from flows.observe import StageRuns, link
from flows.waiting import this_run
from spot_core.config.spot import StageName
from spot_core.errors import ArtifactError, ConfigError, PersonNeededError
from spot_core.report.run_page import render_run_page
from spot_core.report.status import ObservedStage, RunState, RunStatus, compute_status, read_earlier_seconds
from spot_core.runs import Run

PAGE = "run"
"""Key of the artifact."""
_LOOK_SECONDS = 5.0
_STORE_AWAY = (
    OSError,
    ArtifactError,
    ConfigError,
)  # the last: it is there and may not be read, e.g. a token that ended
_SERVER_AWAY = (
    httpx.TransportError,
    PrefectHTTPStatusError,
    ObjectNotFound,
)  # the last: somebody deleted the flow run


@contextmanager
def monitored(run: Run) -> Iterator[None]:
    """Keeps the page of a run up to date during the flow, and leaves its status in the run's folder.

    A server that is away, or a store that cannot be written, is said once in the log; the flow goes on.
    """
    monitor = Monitor(run, this_run().id, get_run_logger())
    finished = threading.Event()

    def keep_looking() -> None:
        while True:
            monitor.look("running")
            if finished.wait(_LOOK_SECONDS):
                return

    thread = threading.Thread(target=keep_looking, name="monitor", daemon=True)
    thread.start()
    outcome: tuple[RunState, str] = ("cancelled", "")
    try:
        yield
        outcome = ("complete", "")
    except PersonNeededError:
        outcome = ("waits", "")
        raise
    except TerminationSignal as signal:
        outcome = ("cancelled", f"the process was told to end (signal {signal.signal})")
        raise
    except Exception as error:
        outcome = ("failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        finished.set()
        thread.join()
        monitor.look(*outcome)


class Monitor:
    """Looks at record and server, and publishes what is new. Used by one thread at a time."""

    def __init__(self, run: Run, flow_run_id: UUID, log: LoggerAdapter | Logger) -> None:
        self._run = run
        self._id = flow_run_id
        self._log = log
        self._began = time.monotonic()
        self._earlier: dict[StageName, float] | None = None
        self._seen: dict[StageName, ObservedStage] = {}
        self._artifact: UUID | None = None
        self._known: RunStatus | None = None
        self._shown: RunStatus | None = None
        self._troubles: set[str] = set()

    def look(self, state: RunState, message: str = "") -> None:
        """Publishes the page if it has changed."""
        # A client of this thread's own: the flow's is in use by the flow.
        with get_client(sync_client=True) as client:
            try:
                self._seen = StageRuns(client, self._id).seen()
            except _SERVER_AWAY as error:
                self._once("the page of the run is not up to date: the Prefect server does not answer", error)
            try:
                self._run = Run.open(self._run.config.store, self._run.name)
                status = self._status(state, message)
            except _STORE_AWAY as error:
                self._once("the page of the run is not up to date: the store cannot be read", error)
                if self._known is None:
                    return
                status = replace(self._known, state=state, message=message)
            self._known = status
            if self._shown is not None and status.says_the_same(self._shown):
                return
            try:
                status.save(self._run)
            except _STORE_AWAY as error:
                self._once("the status of the run cannot be written into the store", error)
            try:
                self._publish(client, status)
            except _SERVER_AWAY as error:
                self._once("the page of the run cannot be shown: the Prefect server does not answer", error)
                return
            self._shown = status

    def _status(self, state: RunState, message: str) -> RunStatus:
        if self._earlier is None:
            self._earlier = read_earlier_seconds(self._run)
        return compute_status(
            self._run,
            self._seen,
            state=state,
            message=message,
            seconds=time.monotonic() - self._began,
            link=link(self._id),
            earlier=self._earlier,
        )

    def _publish(self, client: SyncPrefectClient, status: RunStatus) -> None:
        page, told = render_run_page(status), f"run {status.run_name}: {status.state}"
        if self._artifact is None:
            self._artifact = self._of_earlier_attempt(client)
        if self._artifact is None:
            new = ArtifactCreate(type="markdown", key=PAGE, data=page, description=told, flow_run_id=self._id)
            self._artifact = client.create_artifact(new).id
        else:
            client.update_artifact(self._artifact, ArtifactUpdate(data=page, description=told))

    def _of_earlier_attempt(self, client: SyncPrefectClient) -> UUID | None:
        """The page that this flow run had before it was retried or resumed."""
        wanted = ArtifactFilter(
            key=ArtifactFilterKey(any_=[PAGE]), flow_run_id=ArtifactFilterFlowRunId(any_=[self._id])
        )
        found = client.read_artifacts(artifact_filter=wanted, limit=1)
        return found[0].id if found else None

    def _once(self, what: str, error: Exception) -> None:
        if what not in self._troubles:
            self._troubles.add(what)
            self._log.warning("%s (%s); the run goes on", what, error)
