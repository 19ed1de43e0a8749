"""The runs of a store, newest first, each on one line. Reads the runs' own folders and no artifact."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spot_core.errors import ArtifactError, ConfigError
from spot_core.report.status import RunState, read_current_summary, read_status
from spot_core.runs import Run
from spot_core.store import ArtifactStore


@dataclass(frozen=True)
class ListedRun:
    """A line of the list; a field is None if it is not known (yet)."""

    run_name: str
    created: str
    profile: str
    objective: str
    state: RunState | Literal["unreadable"]
    stage: str | None
    """The first stage that is not done."""
    message: str
    pairs: int | None
    accuracy_before: float | None
    accuracy_after: float | None
    seconds: float
    """Of work that this run did itself, over all attempts."""
    cost_usd: float
    """What this run paid itself."""


def list_runs(store: str | Path) -> Iterator[ListedRun]:
    """Yields a line for each run of a store, the newest first; the line of a run whose record cannot be read says why."""
    for name in ArtifactStore(store).runs():
        try:
            yield describe_run(Run.open(store, name))
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


def describe_run(run: Run) -> ListedRun:
    """Returns the line of a run whose record can be read."""
    status, figures = read_status(run), read_current_summary(run) or {}
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
