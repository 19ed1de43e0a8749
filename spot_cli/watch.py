"""Submits `spot/full`, or resumes a run that waits, and shows in the terminal what the run's page shows."""

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.flow_runs import resume_flow_run
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from deployments.local import ui_url
from flows.observe import run_of, status_now
from spot_core.config.spot import StageName
from spot_core.errors import ConfigError
from spot_core.markdown import visible
from spot_core.report.run_page import format_stage
from spot_core.report.status import RunStatus, StageStatus
from spot_core.report.terminal import make_results_table
from spot_core.runs import Run

WAITS_STATUS = 3
"""Exit status for the shell when the run waits for a person."""
_POLL_SECONDS = 1.0
_GOING_ON = ("queued", "running")
_DONE = ("made", "reused", "skipped")


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
        flow = client.read_flow(submitted.flow_id).name
        final, run, status = _watch(client, submitted.id, flow, console)
    state = final.state
    assert state is not None
    if state.is_paused():
        waits_for = (
            [visible(stage.note) for stage in status.stages if stage.state == "waits"] if status else []
        )
        console.print(
            f"run {final.name} waits ({state.name}){''.join(f': {said}' for said in waits_for)}\n"
            f"To go on: resume it in the UI, or: spot resume {final.id}\n{address}",
            markup=False,
            soft_wrap=True,
        )
        return WAITS_STATUS
    if not state.is_completed():
        console.print(
            f"run {final.name} {state.name}: {state.message}", style="red", markup=False, soft_wrap=True
        )
        for stage in status.stages if status else ():
            # What the run says of a stage it called, it says in the stage's words.
            if stage.state == "failed" and stage.note != state.message:
                console.print(f"stage {stage.name}: {visible(stage.note)}", style="red", markup=False)
        console.print(
            f"what was done is kept. After mending the cause: prefect flow-run retry {final.id}\n{address}",
            markup=False,
        )
        return 1
    if run is not None and status is not None and status.results is not None:
        console.print(make_results_table(status.results))
        console.print(str(run.folder / "summary.json"), markup=False, highlight=False)
    console.print(f"{address}\ntook {time.monotonic() - started:.0f} s", markup=False, highlight=False)
    return 0


def _watch(
    client: SyncPrefectClient, flow_run_id: UUID, flow: str, console: Console
) -> tuple[FlowRun, Run | None, RunStatus | None]:
    """Shows a line per stage until the run has ended or waits: bars in a terminal, finished stages in a log file."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        lines: dict[StageName, TaskID] = {}
        told: set[StageName] = set()
        while True:
            flow_run = client.read_flow_run(flow_run_id)
            state = flow_run.state
            assert state is not None
            run = run_of(flow_run, flow)
            status = None if run is None else status_now(client, flow_run, run)
            for stage in status.stages if status else ():
                if stage.state == "to do":
                    continue
                if stage.name not in lines:
                    lines[stage.name] = bars.add_task(stage.name, total=100.0, note="")
                bars.update(lines[stage.name], completed=_percent(stage), note=_note(stage))
                if stage.state not in _GOING_ON and stage.name not in told:
                    told.add(stage.name)
                    if not console.is_terminal:
                        console.print(f"{stage.name}: {_note(stage)}", markup=False)
            if state.is_final() or state.is_paused():
                return flow_run, run, status
            time.sleep(_POLL_SECONDS)


def _percent(stage: StageStatus) -> float:
    if stage.state in _DONE:
        return 100.0
    return 100.0 * (stage.done or 0) / stage.total if stage.total else 0.0


def _note(stage: StageStatus) -> str:
    """State, rows, time, speed, time left, cost and what the stage says, as far as they are known."""
    _, state, rows, took, speed, left, cost, note = format_stage(stage)
    parts = [rows, took, speed and f"{speed}/s", left and f"about {left} left", cost, visible(note)]
    return f"{state} {', '.join(part for part in parts if part)}".rstrip()
