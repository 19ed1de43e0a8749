"""The runs of a store, newest first, each on one line. Reads what is in the runs' own folders, and no artifact."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spot_core.artifacts import ArtifactStore
from spot_core.errors import ArtifactError, ConfigError
from spot_core.report.status import STATUS, RunState, RunStatus, status_of, summary_if_current
from spot_core.runs import Run


@dataclass(frozen=True)
class ListedRun:
    """A line of the listing; None where it is not known (yet)."""

    run_name: str
    created: str
    profile: str
    objective: str
    state: RunState | Literal["unreadable"]
    stage: str | None
    """The stage that the run stands at."""
    message: str
    pairs: int | None
    accuracy_before: float | None
    accuracy_after: float | None
    seconds: float
    """Of work that this run did itself, over all its attempts."""
    cost_usd: float
    """That this run paid itself."""


def list_runs(store: str | Path) -> Iterator[ListedRun]:
    """Lines for the runs of a store, the newest first; one whose record cannot be read says why."""
    for name in ArtifactStore(store).runs():
        try:
            yield listed(Run.open(store, name))
        except (ConfigError, ArtifactError) as error:  # of another version, as a rule
            yield _unreadable(name, error)


def _unreadable(name: str, error: Exception) -> ListedRun:
    return ListedRun(
        run_name=name,
        created="",
        profile="",
        objective="",
        state="unreadable",
        stage=None,
        message=str(error),
        pairs=None,
        accuracy_before=None,
        accuracy_after=None,
        seconds=0.0,
        cost_usd=0.0,
    )


def listed(run: Run) -> ListedRun:
    status, figures = stored_status(run), summary_if_current(run) or {}
    return ListedRun(
        run_name=run.name,
        created=run.record.created,
        profile=run.config.profile,
        objective=run.config.train.objective,
        state=status.state,
        stage=status.stage,
        message=status.message,
        pairs=figures.get("pairs"),
        accuracy_before=figures.get("accuracy_before"),
        accuracy_after=figures.get("accuracy_after"),
        seconds=sum(a.seconds for a in run.record.used.values() if not a.reused),
        cost_usd=status.paid_usd,
    )


def stored_status(run: Run) -> RunStatus:
    """The status of a run from its folder alone: its record, and how its last attempt ended.

    A run that is said to be running may have lost its process since; only the orchestrator knows.
    """
    status = status_of(run, {})
    told = _told(run)
    if status.state == "complete" or told is None:
        return status
    return replace(status, state=told["state"], message=told["message"], link=told["link"])


def _told(run: Run) -> dict[str, Any] | None:
    """What the last attempt left, unless it completed and the run wants something anew since."""
    text = run.store.read_document(f"runs/{run.name}/{STATUS}")
    if text is None:
        return None
    told = json.loads(text)
    return None if told["state"] == "complete" else told
