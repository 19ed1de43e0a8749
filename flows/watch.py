"""Submits `spot/full`, or resumes a run that waits, and shows in the terminal what the Prefect UI shows."""

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort
from prefect.deployments import run_deployment
from prefect.flow_runs import resume_flow_run
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from deployments.local import ui_url
from flows.waiting import PAGE
from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError
from spot_core.report.markdown import visible
from spot_core.report.terminal import summary_text
from spot_core.runs import Run

WAITS_STATUS = 3
"""Exit status for the shell when the run waits for a person."""
_POLL_SECONDS = 1.0


def run_and_watch(parameters: dict[str, Any], console: Console) -> int:
    """Runs the deployment `spot/full` and waits for its end; returns the exit status for the shell."""
    submitted = run_deployment("spot/full", parameters=parameters, timeout=0, as_subflow=False)
    assert isinstance(submitted, FlowRun)
    return _follow(submitted, console)


def resume_and_watch(name: str, console: Console) -> int:
    """Resumes the flow run of this id or name, or of the run of this name, and waits for its end.

    Raises:
        ConfigError: none of this name waits.
    """
    with get_client(sync_client=True) as client:
        suspended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
        waiting = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=suspended))
    found = [run for run in waiting if name in (str(run.id), run.name, run.parameters.get("run_name"))]
    if len(found) != 1:
        known = ", ".join(f"{run.parameters.get('run_name') or run.name} ({run.id})" for run in waiting)
        raise ConfigError(
            f"RUN = {name!r}: {len(found) or 'no'} flow runs of this name wait; those that wait: {known or 'none'}"
        )
    resume_flow_run(found[0].id)
    return _follow(found[0], console)


def _follow(submitted: FlowRun, console: Console) -> int:
    """Shows a flow run until it has ended or waits for a person; returns the exit status for the shell."""
    address = f"{ui_url()}/runs/flow-run/{submitted.id}"
    console.print(f"run {submitted.name}: {address}")
    started = time.monotonic()
    with get_client(sync_client=True) as client:
        final = _watch(client, submitted.id, console)
        state = final.state
        assert state is not None
        if state.is_paused():
            console.print(
                f"run {final.name} waits ({state.name}){_what_for(client, final.id)}\n"
                f"To go on: resume it in the UI, or: spot resume {final.id}\n{address}",
                markup=False,
                soft_wrap=True,
            )
            return WAITS_STATUS
        if not state.is_completed():
            console.print(
                f"run {final.name} {state.name}: {state.message}", style="red", markup=False, soft_wrap=True
            )
            for child in _children(client, final.id):
                # What the run says of a stage it called, it says in the stage's words.
                if (
                    child.state is not None
                    and child.state.is_failed()
                    and child.state.message != state.message
                ):
                    console.print(f"stage {child.name}: {child.state.message}", style="red", markup=False)
            console.print(
                f"what was done is kept. After mending the cause: prefect flow-run retry {final.id}\n{address}",
                markup=False,
            )
            return 1
        flow = client.read_flow(final.flow_id).name
    if flow == "spot":
        config = SpotConfig.from_profile(
            final.parameters.get("profile", "demo"), **(final.parameters.get("config") or {})
        )
        run = Run.open(config.store, final.parameters.get("run_name") or final.name)
        console.print(summary_text(run))
        console.print(str(run.folder / "summary.json"), markup=False, highlight=False)
    console.print(f"{address}\ntook {time.monotonic() - started:.0f} s", markup=False, highlight=False)
    return 0


def _what_for(client: SyncPrefectClient, flow_run_id: UUID) -> str:
    """What a suspended flow run waits for, as far as it said so; a person can suspend one without a word."""
    page = next((a for a in _artifacts(client, flow_run_id) if a.key == PAGE), None)
    return "" if page is None else f": {visible(page.description or '')}"


def _watch(client: SyncPrefectClient, flow_run_id: UUID, console: Console) -> FlowRun:
    """Shows one line per stage until the run has ended or waits: bars in a terminal, finished stages in a log file."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        lines: dict[UUID, TaskID] = {}
        ended: set[UUID] = set()
        while True:
            flow_run = client.read_flow_run(flow_run_id)
            for child in _children(client, flow_run_id):
                if child.id in ended:
                    continue
                if child.id not in lines:
                    lines[child.id] = bars.add_task(
                        client.read_flow(child.flow_id).name, total=100.0, note=""
                    )
                _update(bars, lines[child.id], client, child)
                if child.state is not None and child.state.is_final():
                    ended.add(child.id)
                    bars.stop_task(lines[child.id])
                    if not console.is_terminal:
                        line = bars.tasks[lines[child.id]]
                        console.print(
                            f"{line.description}: {child.state.name} {line.fields['note']}", markup=False
                        )
            if flow_run.state is not None and (flow_run.state.is_final() or flow_run.state.is_paused()):
                return flow_run
            time.sleep(_POLL_SECONDS)


def _update(bars: Progress, line: TaskID, client: SyncPrefectClient, child: FlowRun) -> None:
    latest = next((a for a in _artifacts(client, child.id) if a.type == "progress"), None)
    if latest is not None:
        bars.update(line, completed=float(latest.data), note=(latest.description or "").partition(": ")[2])


def _artifacts(client: SyncPrefectClient, flow_run_id: UUID) -> list[Artifact]:
    """What a flow run has published, the newest first."""
    filter_ = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    return client.read_artifacts(artifact_filter=filter_, sort=ArtifactSort.CREATED_DESC)


def _children(client: SyncPrefectClient, parent: UUID) -> list[FlowRun]:
    filter_ = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
    return sorted(
        client.read_flow_runs(flow_run_filter=filter_), key=lambda run: run.created or run.expected_start_time
    )
