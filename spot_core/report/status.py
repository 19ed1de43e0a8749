"""The status of a run: of every stage the state, rows, speed, cost and time left.

The run's record says what is done. The orchestrator says what is going on (`ObservedStage`); without it, as in the list
of a store's runs, a stage is either done or not.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from spot_core.config.spot import STAGES, SpotConfig, StageName
from spot_core.errors import ArtifactError, ConfigError
from spot_core.pipeline.reached import Reached
from spot_core.report.summary import SUMMARY
from spot_core.runs import Run, RunRecord, UsedArtifact

STATUS = "status.json"
_DONE = ("made", "reused", "skipped")
_EARLIER_RUNS = 10  # looked at; older ones say less
_UNITS: dict[StageName, str] = {
    "rollout": "responses",
    "filter": "answers",
    "rectify": "failures",
    "train": "optimizer steps",
    "evaluate": "responses",
}

log = logging.getLogger(__name__)

ObservedState = Literal["queued", "running", "completed", "waits", "failed", "cancelled"]
RunState = Literal["running", "complete", "waits", "failed", "cancelled", "unfinished"]


@dataclass(frozen=True)
class ObservedStage:
    """What the orchestrator reports of the newest flow run of a stage."""

    state: ObservedState
    seconds: float = 0.0
    """How long the stage has been running."""
    message: str = ""
    """Why it failed, or what it waits for."""
    link: str = ""
    """To its page in the UI."""
    reached: Reached | None = None
    """Its progress."""


@dataclass(frozen=True)
class StageStatus:
    """A line of the table of stages."""

    name: StageName
    state: str
    """to do, queued, running, made, reused, skipped, waits, failed or cancelled."""
    done: int | None = None
    """Rows of the artifact, or rows so far."""
    total: int | None = None
    unit: str = "rows"
    seconds: float | None = None
    """Time that the work took, in whichever run it was done; or time so far."""
    seconds_left: float | None = None
    """Of a running stage: at its speed so far. Of one to do: what it took in an earlier run of the same profile."""
    cost_usd: float | None = None
    """What the artifact cost, in whichever run it was made."""
    note: str = ""
    link: str = ""

    @property
    def per_second(self) -> float | None:
        """Rows per second over the whole time."""
        return self.done / self.seconds if self.done and self.seconds else None


@dataclass(frozen=True)
class RunStatus:
    """Everything that the page of a run shows."""

    run_name: str
    profile: str
    objective: str
    created: str
    folder: str
    state: RunState
    stages: tuple[StageStatus, ...]
    seconds: float | None = None
    """Wall time of the observed attempt."""
    message: str = ""
    """Why the run failed, or what it waits for."""
    link: str = ""
    logs: tuple[str, ...] = ()
    tensorboard: str = ""
    """Command that shows the training curves."""
    results: Mapping[str, Any] | None = None
    """`summary.json`, once the run is complete."""
    at: str = ""
    """When the status was computed, in UTC."""

    @property
    def stage(self) -> StageName | None:
        """The first stage that is not done."""
        return next((s.name for s in self.stages if s.state not in _DONE), None)

    @property
    def seconds_left(self) -> float | None:
        """Until all stages are done; None if the time of one of them is not known."""
        left = [s.seconds_left for s in self.stages if s.state in ("to do", "queued", "running")]
        known = [seconds for seconds in left if seconds is not None]
        return sum(known) if left and len(known) == len(left) else None

    @property
    def paid_usd(self) -> float:
        """What this run itself has paid for stages that are done."""
        return sum(s.cost_usd or 0.0 for s in self.stages if s.state != "reused")

    def says_the_same(self, other: "RunStatus") -> bool:
        """True if nothing but the time differs."""
        return asdict(self) | {"at": "", "seconds": None} == asdict(other) | {"at": "", "seconds": None}

    def save(self, run: Run) -> None:
        """Writes the status beside the run's record, for readers without the orchestrator."""
        document = {name: value for name, value in asdict(self).items() if name != "results"}
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        run.store.write_document(f"runs/{run.name}/{STATUS}", text)


def compute_status(
    run: Run,
    observed: Mapping[StageName, ObservedStage],
    *,
    state: RunState | None = None,
    message: str = "",
    seconds: float | None = None,
    link: str = "",
    earlier: Mapping[StageName, float] | None = None,
) -> RunStatus:
    """Returns the status of a run.

    Args:
        run: with its newest record.
        observed: what the orchestrator reports, by stage.
        state: of the run, if the orchestrator knows it; otherwise it follows from the record.
        seconds: wall time of the observed attempt.
        earlier: see `read_earlier_seconds`.
    """
    stages = tuple(
        replace(line, seconds_left=(earlier or {}).get(line.name))
        if line.state in ("to do", "queued")
        else line
        for line in compute_stage_statuses(run.record, run.config, observed)
    )
    results = read_current_summary(run)
    if state is None:
        state = "complete" if results is not None else "unfinished"
    trained = run.record.used.get("train")
    logs = {run.store.root / a.stage / a.key / "logs" for a in run.record.used.values()}
    return RunStatus(
        run_name=run.name,
        profile=run.config.profile,
        objective=run.config.train.objective,
        created=run.record.created,
        folder=str(run.folder),
        state=state,
        stages=stages,
        seconds=seconds,
        message=message,
        link=link,
        logs=tuple(sorted(str(path) for path in {*logs, run.folder / "logs"} if path.is_dir())),
        tensorboard=f"tensorboard --logdir {run.store.root / 'train'}{f'/{trained.key}' if trained else ''}",
        results=results if state == "complete" else None,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def compute_stage_statuses(
    record: RunRecord, config: SpotConfig, observed: Mapping[StageName, ObservedStage]
) -> tuple[StageStatus, ...]:
    """Returns the status of each stage. What comes after a stage that is not done is not done either."""
    statuses: list[StageStatus] = []
    gap = False
    for name in STAGES:
        status = _compute_stage_status(name, record, config, observed.get(name), after_gap=gap)
        gap = gap or status.state not in _DONE
        statuses.append(status)
    return tuple(statuses)


def _compute_stage_status(
    name: StageName, record: RunRecord, config: SpotConfig, observed: ObservedStage | None, *, after_gap: bool
) -> StageStatus:
    link = observed.link if observed else ""
    # An attempt that failed or waits may be older than the record: the stage may have been run by itself since.
    going_on = observed is not None and observed.state in ("queued", "running")
    if name == "evaluate" and not config.evaluate.datasets:
        return StageStatus(name, "skipped", note="no data set is configured (evaluate.datasets)", link=link)
    if not after_gap and not going_on:
        if reason := record.skipped.get(name):
            return StageStatus(name, "skipped", note=reason)
        if used := _current_artifacts(name, record, config):
            return StageStatus(
                name,
                "reused" if all(a.reused for a in used) else "made",
                done=used[-1].rows if name != "evaluate" else sum(a.rows for a in used),
                seconds=sum(a.seconds for a in used),
                cost_usd=_sum_known(a.cost_usd for a in used),
                unit=_UNITS[name],
                link=link,
            )
    if observed is None or observed.state == "completed":
        return StageStatus(name, "to do")
    reached = observed.reached
    return StageStatus(
        name,
        observed.state,
        done=reached.done if reached and reached.total else None,
        total=reached.total if reached and reached.total else None,
        unit=reached.unit if reached else _UNITS[name],
        seconds=observed.seconds,
        seconds_left=reached.seconds_left if reached and observed.state == "running" else None,
        note=observed.message or (reached.note if reached else ""),
        link=link,
    )


def read_earlier_seconds(run: Run) -> dict[StageName, float]:
    """Returns how long each stage took in the latest run of the same profile that completed it, if there is one."""
    seconds: dict[StageName, float] = {}
    for name in [other for other in run.store.runs() if other != run.name][:_EARLIER_RUNS]:
        try:
            other = Run.open(run.config.store, name)
        except (ConfigError, ArtifactError, OSError) as error:  # of another version, or just being removed
            log.info("run %s tells nothing about how long stages take: %s", name, error)
            continue
        if other.config.profile != run.config.profile:
            continue
        for stage in STAGES:
            if stage not in seconds and (used := _current_artifacts(stage, other.record, other.config)):
                seconds[stage] = sum(a.seconds for a in used)
    return seconds


def _current_artifacts(name: StageName, record: RunRecord, config: SpotConfig) -> list[UsedArtifact]:
    """Returns the artifacts of a stage if the run has all of them and none is to be recomputed; else an empty list."""
    match name:
        case "train":
            wanted = ["reference", "train"]
        case "evaluate":
            wanted = [
                f"evaluate/{when}/{d.name}" for when in ("before", "after") for d in config.evaluate.datasets
            ]
        case _:
            wanted = [name]
    found = [record.used[one] for one in wanted if one in record.used]
    if len(found) < len(wanted):
        return []
    stale = any(a.generation < record.targets.get(f"{a.stage}/{a.key}", 0) for a in found)
    return [] if stale else found


def _sum_known(costs: Iterable[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def read_current_summary(run: Run) -> dict[str, Any] | None:
    """Returns `summary.json`; None if there is none or the run went on after it was written."""
    text = run.store.read_document(f"runs/{run.name}/{SUMMARY}")
    if text is None:
        return None
    summary = json.loads(text)
    used = {name: (a.key, a.generation) for name, a in run.record.used.items()}
    told = {name: (a["key"], a["generation"]) for name, a in summary["stages"].items()}
    done = all(line.state in _DONE for line in compute_stage_statuses(run.record, run.config, {}))
    return summary if used == told and done else None


def read_status(run: Run) -> RunStatus:
    """Returns the status of a run from its folder alone: its record, and how its last attempt ended.

    A run that is said to be running may have lost its process since; only the orchestrator knows.
    """
    status, last = compute_status(run, {}), _read_last_attempt(run)
    if status.state == "complete" or last is None:
        return status
    return replace(status, state=last["state"], message=last["message"], link=last["link"])


def _read_last_attempt(run: Run) -> dict[str, Any] | None:
    """Returns the status that the last attempt wrote, or None.

    An attempt that completed counts no more: the run is not complete, so artifacts were marked for a refresh since.
    """
    text = run.store.read_document(f"runs/{run.name}/{STATUS}")
    if text is None:
        return None
    status: dict[str, Any] = json.loads(text)
    return None if status["state"] == "complete" else status
