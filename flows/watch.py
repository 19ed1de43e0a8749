"""Submits `spot/full` and shows in the terminal what the Prefect UI shows."""

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.deployments import run_deployment
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from deployments.local import ui_url
from spot_core.config.spot import SpotConfig
from spot_core.report.terminal import summary_text
from spot_core.runs import Run

_POLL_SECONDS = 1.0


def run_and_watch(parameters: dict[str, Any], console: Console) -> int:
    """Runs the deployment `spot/full` and waits for its end; returns the exit status for the shell."""
    submitted = run_deployment("spot/full", parameters=parameters, timeout=0, as_subflow=False)
    assert isinstance(submitted, FlowRun)
    address = f"{ui_url()}/runs/flow-run/{submitted.id}"
    console.print(f"run {submitted.name}: {address}")
    started = time.monotonic()
    with get_client(sync_client=True) as client:
        final = _watch(client, submitted.id, console)
        state = final.state
        assert state is not None
        if not state.is_completed():
            console.print(f"run {final.name} {state.name}: {state.message}", style="red", markup=False)
            for child in _children(client, final.id):
                if child.state is not None and child.state.is_failed():
                    console.print(f"stage {child.name}: {child.state.message}", style="red", markup=False)
            console.print(
                f"what was done is kept. After mending the cause: prefect flow-run retry {final.id}\n{address}",
                markup=False,
            )
            return 1
    config = SpotConfig.from_profile(parameters.get("profile", "demo"), **parameters.get("config", {}))
    run = Run.open(config.store, final.parameters.get("run_name") or final.name)
    console.print(summary_text(run))
    console.print(f"{run.folder / 'summary.json'}\n{address}", markup=False, highlight=False)
    console.print(f"took {time.monotonic() - started:.0f} s")
    return 0


def _watch(client: SyncPrefectClient, flow_run_id: UUID, console: Console) -> FlowRun:
    """Shows one line per stage until the run has ended: bars in a terminal, finished stages in a log file."""
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
            if flow_run.state is not None and flow_run.state.is_final():
                return flow_run
            time.sleep(_POLL_SECONDS)


def _update(bars: Progress, line: TaskID, client: SyncPrefectClient, child: FlowRun) -> None:
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[child.id])),
        sort=ArtifactSort.CREATED_DESC,
    )
    latest = next((a for a in artifacts if a.type == "progress"), None)
    if latest is not None:
        bars.update(line, completed=float(latest.data), note=(latest.description or "").partition(": ")[2])


def _children(client: SyncPrefectClient, parent: UUID) -> list[FlowRun]:
    filter_ = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
    return sorted(
        client.read_flow_runs(flow_run_filter=filter_), key=lambda run: run.created or run.expected_start_time
    )
