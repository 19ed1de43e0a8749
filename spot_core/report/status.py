"""Where a run is: every stage with its state, rows, speed, cost and time left, from the run's record and what is seen.

The record says what is done. Who orchestrates the run says what goes on (`Seen`); without that, as in a listing of the
store, a stage is done or it is not.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from spot_core.config.spot import STAGES, SpotConfig, StageName
from spot_core.errors import ArtifactError, ConfigError
from spot_core.pipeline.reached import Reached
from spot_core.report.summary import SUMMARY
from spot_core.runs import Run, RunRecord, UsedArtifact

STATUS = "status.json"

log = logging.getLogger(__name__)

SeenState = Literal["queued", "running", "completed", "waits", "failed", "cancelled"]
RunState = Literal["running", "complete", "waits", "failed", "cancelled", "unfinished"]


@dataclass(frozen=True)
class Seen:
    """What the orchestrator says of the newest run of a stage."""

    state: SeenState
    seconds: float = 0.0
    """How long it has been running."""
    message: str = ""
    """Why it failed, or what it waits for."""
    link: str = ""
    """Where it is shown."""
    reached: Reached | None = None
    """How far it says it is."""


@dataclass(frozen=True)
class StageStatus:
    """A line of the table of stages."""

    name: StageName
    state: str
    """to do, queued, running, made, reused, skipped, waits, failed or cancelled."""
    done: int | None = None
    """Rows: of what is there, or so far."""
    total: int | None = None
    unit: str = "rows"
    seconds: float | None = None
    """Of work, in whichever run it was done; or so far."""
    seconds_left: float | None = None
    """Of a stage that goes on: at its speed so far. Of one to do: what it took in an earlier run of the same profile."""
    cost_usd: float | None = None
    """Of making what is there, in whichever run."""
    note: str = ""
    link: str = ""

    @property
    def per_second(self) -> float | None:
        """Rows a second over all the time it took."""
        return self.done / self.seconds if self.done and self.seconds else None


@dataclass(frozen=True)
class RunStatus:
    """Everything the run's page says."""

    run_name: str
    profile: str
    objective: str
    created: str
    folder: str
    state: RunState
    stages: tuple[StageStatus, ...]
    seconds: float | None = None
    """Wall time of the attempt that is watched."""
    message: str = ""
    """Why the run failed, or what it waits for."""
    link: str = ""
    logs: tuple[str, ...] = ()
    tensorboard: str = ""
    """Command that shows the curves."""
    results: Mapping[str, Any] | None = None
    """`summary.json`, once the run is complete."""
    at: str = ""
    """When this was so."""

    @property
    def stage(self) -> StageName | None:
        """The first stage that is not done."""
        return next((s.name for s in self.stages if s.state not in ("made", "reused", "skipped")), None)

    @property
    def seconds_left(self) -> float | None:
        """Until all stages are done, as far as anyone can tell; None where one of them is not known."""
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
        """Leaves it beside the run's record, for those who look without the orchestrator."""
        document = {name: value for name, value in asdict(self).items() if name != "results"}
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        run.store.write_document(f"runs/{run.name}/{STATUS}", text)


def status_of(
    run: Run,
    seen: Mapping[StageName, Seen],
    *,
    state: RunState | None = None,
    message: str = "",
    seconds: float | None = None,
    link: str = "",
    earlier: Mapping[StageName, float] | None = None,
) -> RunStatus:
    """The status of a run.

    Args:
        run: the run, as its record says now.
        seen: what goes on, by stage.
        state: of the run, where the orchestrator knows it; else it is made out from the record.
        earlier: see `earlier_seconds`.
    """
    stages = tuple(
        replace(line, seconds_left=(earlier or {}).get(line.name))
        if line.state in ("to do", "queued")
        else line
        for line in stage_lines(run.record, run.config, seen)
    )
    results = summary_if_current(run)
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


def stage_lines(
    record: RunRecord, config: SpotConfig, seen: Mapping[StageName, Seen]
) -> tuple[StageStatus, ...]:
    """One line for each stage. What comes after a stage that is not done is not done either."""
    lines: list[StageStatus] = []
    broken = False
    for name in STAGES:
        line = _line(name, record, config, seen.get(name), after_gap=broken)
        broken = broken or line.state not in ("made", "reused", "skipped")
        lines.append(line)
    return tuple(lines)


def _line(
    name: StageName, record: RunRecord, config: SpotConfig, seen: Seen | None, *, after_gap: bool
) -> StageStatus:
    link = seen.link if seen else ""
    # An attempt that failed or waits says nothing of what is there all the same: the stage was run by itself since.
    going_on = seen is not None and seen.state in ("queued", "running")
    if name == "evaluate" and not config.evaluate.datasets:
        return StageStatus(name, "skipped", note="no data set is configured (evaluate.datasets)", link=link)
    if not after_gap and not going_on:
        if reason := record.skipped.get(name):
            return StageStatus(name, "skipped", note=reason)
        if used := _artifacts(name, record, config):
            return StageStatus(
                name,
                "reused" if all(a.reused for a in used) else "made",
                done=used[-1].rows if name != "evaluate" else sum(a.rows for a in used),
                seconds=sum(a.seconds for a in used),
                cost_usd=_sum(a.cost_usd for a in used),
                unit=_UNITS[name],
                link=link,
            )
    if seen is None or seen.state == "completed":
        return StageStatus(name, "to do")
    reached = seen.reached
    return StageStatus(
        name,
        seen.state,
        done=reached.done if reached and reached.total else None,
        total=reached.total if reached and reached.total else None,
        unit=reached.unit if reached else _UNITS[name],
        seconds=seen.seconds,
        seconds_left=reached.seconds_left if reached and seen.state == "running" else None,
        note=seen.message or (reached.note if reached else ""),
        link=link,
    )


def earlier_seconds(run: Run) -> dict[StageName, float]:
    """How long each stage took in the latest run of the same profile that has it, where there is one."""
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
            if stage not in seconds and (used := _artifacts(stage, other.record, other.config)):
                seconds[stage] = sum(a.seconds for a in used)
    return seconds


_EARLIER_RUNS = 10  # looked at; older ones say less
_UNITS: dict[StageName, str] = {
    "rollout": "responses",
    "filter": "answers",
    "rectify": "failures",
    "train": "optimizer steps",
    "evaluate": "responses",
}


def _artifacts(name: StageName, record: RunRecord, config: SpotConfig) -> list[UsedArtifact]:
    """What makes up a stage, if the run has all of it and wants none of it anew."""
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


def _sum(costs: Any) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def summary_if_current(run: Run) -> dict[str, Any] | None:
    """`summary.json`, unless the run went on after it was written."""
    text = run.store.read_document(f"runs/{run.name}/{SUMMARY}")
    if text is None:
        return None
    summary = json.loads(text)
    used = {name: (a.key, a.generation) for name, a in run.record.used.items()}
    told = {name: (a["key"], a["generation"]) for name, a in summary["stages"].items()}
    done = all(
        line.state in ("made", "reused", "skipped") for line in stage_lines(run.record, run.config, {})
    )
    return summary if used == told and done else None
