"""What Prefect says of a run: which flow runs are its stages, how far each is, and how it ended."""

from collections.abc import Collection, Iterator, Mapping
from typing import get_args
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from flows.waiting import WAITS
from spot_core.config.spot import SpotConfig, StageName
from spot_core.pipeline.reached import Reached
from spot_core.report.status import ObservedStage, ObservedState, RunState, RunStatus, compute_status
from spot_core.runs import Run
from spot_core.store import ArtifactStore

WHOLE = "spot"
"""Name of the flow that runs all stages."""
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
LIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
"""Types of the states that do not last."""
_PAGE = 200  # the most that the server gives at once
_MOST_RUNS = 1000  # of a flow, looked at for one of a name


class StageRuns:
    """The flow runs of a run's stages, in whichever process or on whichever machine they are.

    Args:
        client: of the Prefect server.
        flow_run_id: the flow run of the whole, or of one stage alone.
    """

    def __init__(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        self._client = client
        self._id = flow_run_id
        self._flows: dict[UUID, str] = {}

    def flow_of(self, flow_run: FlowRun) -> str:
        """Name of its flow, asked for once."""
        if flow_run.flow_id not in self._flows:
            self._flows[flow_run.flow_id] = self._client.read_flow(flow_run.flow_id).name
        return self._flows[flow_run.flow_id]

    def seen(self) -> dict[StageName, ObservedStage]:
        """What the newest flow run of each stage does."""
        return {stage: self._seen(run) for stage, run in self._newest().items()}

    def alone_since(self, flow_run: FlowRun) -> dict[StageName, ObservedStage]:
        """Stages of the same run that were run by themselves after this flow run had ended, the newest last."""
        assert flow_run.state is not None
        wanted = FlowRunFilter(start_time=FlowRunFilterStartTime(after_=flow_run.state.timestamp))
        name = run_name_of(flow_run)
        later = [
            one
            for one in _latest(self._client, STAGE_NAMES, wanted)
            if one.parent_task_run_id is None and run_name_of(one) == name
        ]
        named = ((self.flow_of(one), one) for one in reversed(later))
        return {stage: self._seen(one) for stage, one in named if stage in STAGE_NAMES}

    def _newest(self) -> dict[StageName, FlowRun]:
        itself = self._client.read_flow_run(self._id)
        flow_runs = children(self._client, self._id) if self.flow_of(itself) == WHOLE else [itself]
        named = ((self.flow_of(flow_run), flow_run) for flow_run in flow_runs)
        return {name: flow_run for name, flow_run in named if name in STAGE_NAMES}

    def _seen(self, flow_run: FlowRun) -> ObservedStage:
        state = flow_run.state
        assert state is not None
        done = state.is_completed() and state.name != WAITS
        return ObservedStage(
            state=_seen_state(state),
            seconds=flow_run.estimated_run_time.total_seconds(),
            message="" if done or state.is_running() else state.message or "",
            link=link(flow_run.id),
            reached=None if done else self._reached(flow_run.id),
        )

    def _reached(self, flow_run_id: UUID) -> Reached | None:
        """How far the stage said it is, the last time it did."""
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]),
            type=ArtifactFilterType(any_=["progress"]),
        )
        found = self._client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
        return Reached.from_texts(found[0].metadata_ or {}) if found else None


def _seen_state(state: State) -> ObservedState:
    if state.name == WAITS or state.is_paused():
        return "waits"
    if state.is_completed():
        return "completed"
    if state.is_cancelled() or state.is_cancelling():
        return "cancelled"
    if state.is_final():
        return "failed"
    return "running" if state.is_running() else "queued"


def run_state(state: State) -> RunState | None:
    """The state of a run whose newest flow run is in this one; None where the store has to say."""
    seen = _seen_state(state)
    return None if seen == "completed" else _of_run(seen)


def _of_run(seen: ObservedState) -> RunState:
    """The state of a run, of which this is seen; it is not done by that alone."""
    match seen:
        case "queued":
            return "running"
        case "completed":
            return "unfinished"
        case _:
            return seen


def link(flow_run_id: UUID) -> str:
    """Where the UI shows a flow run; from its own pages, under whichever address they are reached."""
    return f"/runs/flow-run/{flow_run_id}"


def children(client: SyncPrefectClient, parent: UUID) -> list[FlowRun]:
    """Flow runs that a flow run started, in its process or through their deployments; the oldest first."""
    wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
    found = client.read_flow_runs(flow_run_filter=wanted)
    return sorted(found, key=lambda run: run.created or run.expected_start_time)


def run_name_of(flow_run: FlowRun) -> str:
    """Name of the run that a flow run makes."""
    return flow_run.parameters.get("run_name") or flow_run.name


def run_of(flow_run: FlowRun, flow: str) -> Run | None:
    """The run that a flow run makes, or None if it has not begun to."""
    if flow == WHOLE:
        given = flow_run.parameters
        store = SpotConfig.from_profile(given.get("profile", "demo"), **(given.get("config") or {})).store
    else:
        store = flow_run.parameters.get("store", "artifacts")
    name = run_name_of(flow_run)
    return Run.open(store, name) if name in ArtifactStore(store).runs() else None


def flow_runs_named(
    client: SyncPrefectClient, name: str, *, flows: tuple[str, ...] = (WHOLE,), live: bool = False
) -> Iterator[FlowRun]:
    """Flow runs of these flows for the run of this name, the newest first; with ``live`` those that have not ended."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=LIVE)) if live else None
    found = _latest(client, flows, FlowRunFilter(state=states))
    return (flow_run for flow_run in found if run_name_of(flow_run) == name)


def _latest(client: SyncPrefectClient, flows: tuple[str, ...], wanted: FlowRunFilter) -> Iterator[FlowRun]:
    """Flow runs of these flows, the newest first."""
    for offset in range(0, _MOST_RUNS, _PAGE):
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
            flow_run_filter=wanted,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_PAGE,
            offset=offset,
        )
        yield from found
        if len(found) < _PAGE:
            return


def states_of(client: SyncPrefectClient, names: Collection[str]) -> dict[str, str]:
    """The state of the newest flow run of each of these runs, as far as one is found among the latest."""
    states: dict[str, str] = {}
    for flow_run in _latest(client, (WHOLE,), FlowRunFilter()):
        name = run_name_of(flow_run)
        if name in names and name not in states and flow_run.state is not None:
            states[name] = flow_run.state.name or ""
        if len(states) == len(names):
            break
    return states


def status_now(
    client: SyncPrefectClient,
    flow_run: FlowRun,
    run: Run,
    *,
    earlier: Mapping[StageName, float] | None = None,
) -> RunStatus:
    """The status of a run, whose newest flow run this is; stages that were run on their own since are newer still.

    ``earlier`` is what `read_earlier_seconds` says.
    """
    assert flow_run.state is not None
    stages = StageRuns(client, flow_run.id)
    state, message = run_state(flow_run.state), flow_run.state.message or ""
    alone = stages.alone_since(flow_run) if flow_run.state.is_final() else {}
    if alone:
        latest = list(alone.values())[-1]
        live = any(seen.state in ("queued", "running") for seen in alone.values())
        state = "running" if live else None if latest.state == "completed" else _of_run(latest.state)
        message = latest.message
    return compute_status(
        run,
        stages.seen() | alone,
        state=state,
        message=message if state in ("failed", "cancelled") else "",
        seconds=flow_run.estimated_run_time.total_seconds(),
        link=link(flow_run.id),
        earlier=earlier,
    )
