"""Progress of a stage, as a Prefect progress artifact."""

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from spot_core.pipeline.progress import Progress
from tasks.cancellation import heeding_cancellation

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
    latest: list[tuple[int, int, str]] = []
    first: list[tuple[float, int]] = []
    finished = threading.Event()

    def report(done: int, total: int, *, note: str = "") -> None:
        if total and not first:  # before, the stage waits for something
            first.append((time.monotonic(), done))
        latest[:] = [(done, total, note)]

    def show(percent: float, text: str) -> None:
        try:
            update_progress_artifact(artifact_id, progress=percent, description=text)
        except (PrefectHTTPStatusError, httpx.TransportError) as error:
            log.warning("the progress could not be shown (%s); the stage goes on", error)

    def publish(*, to_log: bool) -> None:
        if not latest:
            return
        done, total, note = latest[0]
        text = f"{what}: {note}"
        if first:
            text = f"{what}: {done:,} of {total:,} {unit}{_time_left(first[0], done, total)}"
            text += f"; {note}" if note else ""
        show(100.0 * done / max(1, total), text)
        if to_log:
            log.info(text)

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
        with heeding_cancellation():
            yield report
        if not latest:
            show(100.0, f"{what}: reused")
    finally:
        finished.set()
        thread.join()
        publish(to_log=True)


def _time_left(first: tuple[float, int], done: int, total: int) -> str:
    started, done_then = first
    if done <= done_then or done >= total:
        return ""
    seconds = (time.monotonic() - started) / (done - done_then) * (total - done)
    return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"
