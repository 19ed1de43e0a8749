"""A stage as a flow run of its own deployment: a worker of that deployment's work pool runs it, on its own machine.

The parent holds its children by Prefect's link between them alone, so a parent that is retried finds what lives of them.
"""

import time
from collections.abc import Callable
from functools import partial
from logging import Logger, LoggerAdapter
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled, Cancelling, State

from flows.client import own_client
from flows.waiting import this_run
from spot_core.config.dispatch import DispatchConfig
from spot_core.config.spot import STAGES, StageName
from spot_core.errors import ConfigError, StageError

_POLL_SECONDS = 1.0
_NO_WORKER_SECONDS = 30.0


def has_own_pool(stage: StageName, dispatch: DispatchConfig) -> bool:
    """True if a stage is to be run through its deployment, as `dispatch.stages` says."""
    if dispatch.stages != "auto":
        return dispatch.stages == "deployments"
    with own_client() as client:
        pool = _pool_of(client, stage)
    return this_run().work_pool_name is not None and pool not in (None, this_run().work_pool_name)


def stages_of_own_pool() -> list[StageName]:
    """Returns the stages whose deployments have the work pool that this flow run came through; none for a subflow."""
    own = this_run().work_pool_name
    if own is None:
        return []
    with own_client() as client:
        return [stage for stage in STAGES if _pool_of(client, stage) == own]


def _pool_of(client: SyncPrefectClient, stage: StageName) -> str | None:
    """Work pool of a stage's deployment; None if it has none."""
    try:
        return client.read_deployment_by_name(f"{stage}/stage").work_pool_name
    except ObjectNotFound:
        return None


def run_through_deployment(stage: StageName, parameters: dict[str, Any]) -> State:
    """Starts a flow run of the stage's deployment, waits for its end and returns the state it ended in.

    Raises:
        ConfigError: there is no such deployment.
        StageError: it failed, crashed or was cancelled; with its reason.
    """
    try:
        child = run_deployment(f"{stage}/stage", parameters=parameters, timeout=0, as_subflow=True)
    except ObjectNotFound as error:
        raise ConfigError(
            f"dispatch.stages = 'deployments': this Prefect server has no deployment {stage}/stage; make it with: "
            "prefect deploy --all"
        ) from error
    assert isinstance(child, FlowRun)
    get_run_logger().info("stage %s: flow run %s in the pool %s", stage, child.name, child.work_pool_name)
    state = _end_of(child, stage)
    if not state.is_completed():
        raise StageError(f"stage {stage} {state.name} (flow run {child.name!r}, {child.id}): {state.message}")
    return state


def wait_for_living_children() -> None:
    """Waits for the stages that an earlier attempt of this flow run began and that outlived it."""
    with own_client() as client:
        living = [child for child in _living(client, this_run()) if child.deployment_id is not None]
    for child in living:
        get_run_logger().info(
            "flow run %s of an earlier attempt is at work still: waiting for it", child.name
        )
        state = _end_of(child, child.name)
        get_run_logger().info("flow run %s: %s", child.name, state.name)


def cancel_children(flow: Flow[..., Any], flow_run: FlowRun, _state: State) -> None:
    """Cancels what a cancelled flow run had begun; the worker calls this once the flow's own process is gone."""
    _cancel_children_of(flow_run, flow_run_logger(flow_run, flow))


def cancel_own_children() -> Callable[[], None]:
    """Returns what cancels the stages that this flow run began, for a thread to call where no worker does."""
    return partial(_cancel_children_of, this_run(), get_run_logger())


def _cancel_children_of(parent: FlowRun, log: Logger | LoggerAdapter) -> None:
    with own_client() as client:
        for child in _living(client, parent):
            if child.deployment_id is None:  # it is in the parent's process, which is gone or about to be
                client.set_flow_run_state(
                    child.id, Cancelled(message=f"{parent.name} was cancelled"), force=True
                )
            else:
                client.set_flow_run_state(child.id, Cancelling(message=f"{parent.name} was cancelled"))
            log.info("cancelled %s with %s", child.name, parent.name)


def _living(client: SyncPrefectClient, parent: FlowRun) -> list[FlowRun]:
    alive = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[t for t in StateType if t not in TERMINAL_STATES])
    )
    children = FlowRunFilterParentFlowRunId(any_=[parent.id])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=children, state=alive))


def _end_of(child: FlowRun, stage: str) -> State:
    """Waits for the end of a child, through outages of Prefect's server; says so if no worker takes it."""
    log = get_run_logger()
    began = warned = time.monotonic()
    with own_client() as client:
        while True:
            try:
                state = client.read_flow_run(child.id).state
                assert state is not None, "a flow run that was submitted has a state"
                if state.is_final():
                    return state
                if state.is_scheduled() and time.monotonic() - warned > _NO_WORKER_SECONDS:
                    warned = time.monotonic()
                    log.warning(
                        "stage %s has waited for %.0f s: %s", stage, warned - began, _no_worker(client, child)
                    )
            except (PrefectHTTPStatusError, httpx.TransportError) as error:
                log.warning("Prefect's server cannot be asked about stage %s (%s): asking on", stage, error)
            time.sleep(_POLL_SECONDS)


def _no_worker(client: SyncPrefectClient, child: FlowRun) -> str:
    pool = client.read_work_pool(child.work_pool_name or "")
    if pool.is_paused:
        return f"the pool {pool.name} is paused; go on with: prefect work-pool resume {pool.name}"
    return (
        f"no worker of the pool {pool.name} has taken it. "
        f"Start one where its work is to be done: prefect worker start --pool {pool.name} --type {pool.type}"
    )
