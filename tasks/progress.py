"""Progress of a stage, as a Prefect progress artifact; its metadata are the figures, for the run's own page."""

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from spot_core.pipeline.progress import Progress
from spot_core.pipeline.reached import Reached

_PUBLISH_SECONDS = 2.0
_LOG_SECONDS = 30.0


@contextmanager
def progress_artifact(what: str, *, unit: str) -> Iterator[Progress]:
    """Shows ``done / total`` with an estimate of the time left, and how it goes.

    The stage calls back from inside an event loop and from threads, for every row; so the call only leaves its
    figures behind, and a thread of our own talks to Prefect every two seconds.
    """
    log = get_run_logger()
    artifact_id = create_progress_artifact(progress=0.0, key=what, description=f"{what}: starting")
    latest: list[Reached] = []
    first: list[tuple[float, int]] = []
    finished = threading.Event()

    def report(done: int, total: int, *, note: str = "") -> None:
        if total and not first:  # before, the stage waits for something
            first.append((time.monotonic(), done))
        since, before = first[0] if first else (time.monotonic(), done)
        latest[:] = [Reached(done, total, unit, time.monotonic() - since, done - before, note)]

    def show(percent: float, text: str, figures: dict[str, str] | None = None) -> None:
        update = ArtifactUpdate(data=percent, description=f"{what}: {text}", metadata_=figures)
        try:
            with get_client(sync_client=True) as client:
                client.update_artifact(artifact_id, update)
        except (PrefectHTTPStatusError, httpx.TransportError) as error:
            log.warning("the progress could not be shown (%s); the stage goes on", error)

    def publish(*, to_log: bool) -> None:
        if not latest:
            return
        reached = latest[0]
        show(reached.percent, str(reached), reached.as_texts())
        if to_log:
            log.info("%s: %s", what, reached)

    def keep_publishing() -> None:
        logged = time.monotonic()
        while not finished.wait(_PUBLISH_SECONDS):
            due = time.monotonic() - logged > _LOG_SECONDS
            publish(to_log=due)
            if due:
                logged = time.monotonic()

    context = contextvars.copy_context()  # the thread speaks for this task run
    thread = threading.Thread(target=context.run, args=(keep_publishing,), daemon=True)
    thread.start()
    try:
        yield report
        if not latest:
            show(100.0, "reused")
    finally:
        finished.set()
        thread.join()
        publish(to_log=True)
