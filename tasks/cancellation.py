"""Lets a run that is cancelled end, although the worker that should end it is gone.

The worker that started a flow's process ends it when the run is cancelled. After kill -9 of the worker the process
lives on and finishes its run; but then nobody hears of a cancellation, neither a new worker nor Prefect's engine
(3.7.7): the run would stay Cancelling, with its engines, until its work is done. So the process looks by itself.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_logger
from prefect.states import Cancelled

LOOK_SECONDS = 5.0
WORKER_SECONDS = 45.0
"""How long a worker has for it that may live: Prefect's gives a process 30 s to end, and unwinding takes as long."""
_heeding = threading.Event()


def heed_cancellation(*, first: Callable[[], None] | None = None) -> None:
    """From now on, ends this process as a worker would if its flow run is cancelled and the worker does not.

    A process has one flow run, so that only the first call counts: its flow's, not those of the subflows in it.

    Args:
        first: what to do before that, in a thread; again and again while Prefect's server cannot be reached.
    """
    flow_run_id = os.environ.get("PREFECT__FLOW_RUN_ID")
    # Without an id, no worker has started this process: the flow is called as a function.
    if flow_run_id is None or _heeding.is_set():
        return
    _heeding.set()
    arguments = (UUID(flow_run_id), os.getppid(), first)
    threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(flow_run_id: UUID, worker: int, first: Callable[[], None] | None) -> None:
    since: float | None = None
    with get_client(sync_client=True) as client:
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                if not _is_cancelling(client, flow_run_id):
                    since = None
                    continue
                since = since or time.monotonic()
                # In a container it is not the worker's child, and learns nothing of it.
                gone = os.getppid() != worker
                if gone or time.monotonic() - since >= WORKER_SECONDS:
                    if first is not None:
                        first()
                    _end(client, flow_run_id)
                    return
            except (PrefectHTTPStatusError, httpx.TransportError) as error:
                get_logger().debug("cannot look whether the run is cancelled (%s); looking again", error)


def _is_cancelling(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    state = client.read_flow_run(flow_run_id).state
    return state is not None and state.is_cancelling()


def _end(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    said = "cancelled; the worker that started it is gone, so the process ends itself"
    client.set_flow_run_state(flow_run_id, Cancelled(message=said), force=True)
    os.kill(os.getpid(), signal.SIGTERM)  # the engine unwinds: engines and ranks end with their contexts
