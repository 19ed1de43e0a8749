"""Ends what runs for a run: its flow run, and those of its stages wherever they are."""

import time
from collections.abc import Callable
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Cancelling

from flows.observe import STAGE_NAMES, WHOLE, children, flow_runs_named
from spot_core.errors import EngineError

WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.5


def cancel_run(
    name: str, *, wait_seconds: float = WAIT_SECONDS, told: Callable[[str], None] = lambda text: None
) -> int:
    """Cancels every flow run for the run of this name that has not ended, and waits until all have.

    Args:
        name: of the run.
        wait_seconds: how long to wait.
        told: is told what is done.

    Returns:
        how many there were.

    Raises:
        EngineError: some have not ended in time.
    """
    with get_client(sync_client=True) as client:
        live = list(flow_runs_named(client, name, flows=(WHOLE, *STAGE_NAMES), live=True))
        started_by = {child.id for flow_run in live for child in children(client, flow_run.id)}
        for flow_run in live:
            # A stage in its parent's process has none of its own that could be ended.
            if flow_run.deployment_id is not None or flow_run.id not in started_by:
                told(f"cancelling flow run {flow_run.name} ({flow_run.id})")
                client.set_flow_run_state(flow_run.id, Cancelling())
        _wait(client, live, name, wait_seconds)
    return len(live)


def _wait(client: SyncPrefectClient, live: list[FlowRun], name: str, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    left: dict[UUID, FlowRun] = {flow_run.id: flow_run for flow_run in live}
    while left:
        for flow_run_id in list(left):
            now = left[flow_run_id] = client.read_flow_run(flow_run_id)
            assert now.state is not None
            if now.state.is_final():
                del left[flow_run_id]
        if left and all(_is_subflow(flow_run) for flow_run in left.values()):
            # The processes that these stages ran in have ended, and could not say so for them.
            for flow_run_id in left:
                client.set_flow_run_state(flow_run_id, Cancelled(message=f"run {name} was cancelled"))
            continue
        if left and time.monotonic() > deadline:
            still = ", ".join(f"{flow_run.name} ({flow_run.id})" for flow_run in left.values())
            raise EngineError(
                f"after {wait_seconds:g} s these flow runs are still being cancelled: {still}. Their worker ends them: "
                "is it up (`spot up`)? One that was called from Python has no worker: end its process"
            )
        time.sleep(_POLL_SECONDS)


def _is_subflow(flow_run: FlowRun) -> bool:
    """True for a stage that ran in the process of its parent."""
    return flow_run.deployment_id is None and flow_run.parent_task_run_id is not None
