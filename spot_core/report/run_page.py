"""The page of a run as Markdown for the Prefect UI: state, stages, time left, cost and results."""

from collections.abc import Sequence

from spot_core.markdown import block, cell, percent, points, table
from spot_core.pipeline.reached import duration
from spot_core.report.status import RunStatus, StageStatus

HEADER = ("stage", "state", "rows", "time", "rows/s", "time left", "cost")
_MOST_NOTE = 500
_STATES = {
    "running": "is running",
    "complete": "is complete",
    "waits": "waits for a person",
    "failed": "failed",
    "cancelled": "was cancelled",
    "unfinished": "is not finished",
}


def render_run_page(status: RunStatus) -> str:
    """Returns the page of a run. Whatever a model or an error wrote is shown as text."""
    parts = [
        f"# Run {cell(status.run_name)} {_STATES[status.state]}",
        _where(status),
    ]
    if status.state == "failed":
        # The diagnosis is the first line, and long: in a fence, which keeps the lines of a log, it would be cut off.
        why, _, log = (status.message.strip() or "no reason was given").partition("\n")
        parts.append(f"## Why it failed\n\n{cell(why)}")
        if log:
            parts.append(block(log))
    elif status.message:
        parts.append(f"> {cell(status.message)}")
    if status.results is not None:
        parts.append(_results(status))
    parts.append(f"## Stages\n\n{_stages(status)}")
    parts.append(_totals(status))
    parts.append(f"## Where to look\n\n{_places(status)}")
    return "\n\n".join(parts) + "\n"


def _where(status: RunStatus) -> str:
    """Returns the state in one sentence."""
    at = f"at stage **{status.stage}**" if status.stage else "all stages are done"
    current = next((s for s in status.stages if s.name == status.stage), None)
    left = current.seconds_left if current and current.state == "running" else None
    still = [] if left is None else [f"about **{duration(left)}** left in it"]
    if status.state == "running" and status.seconds_left is not None:
        still.append(
            f"about **{duration(status.seconds_left)}** in all, if the stages to come take as long as before"
        )
    told = "".join(f", {text}" for text in still)
    return f"Profile {cell(status.profile)}, objective {cell(status.objective)}: {at}{told}."


def _stages(status: RunStatus) -> str:
    """Returns the table of stages, and their notes below it: the UI would cut off a wide table."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    notes = []
    for stage in status.stages:
        first, *rest, note = format_stage(stage)
        name = f"[{first}]({stage.link})" if stage.link else first
        lines.append(f"| {' | '.join([name, *map(cell, rest)])} |")
        if note:
            notes.append(f"- **{first}**: {cell(note)}")
    return "\n".join([*lines, "", *notes] if notes else lines)


def format_stage(stage: StageStatus) -> tuple[str, ...]:
    """Returns the line of a stage as plain texts: the columns of `HEADER`, then the note."""
    note = stage.note if len(stage.note) <= _MOST_NOTE else f"{stage.note[:_MOST_NOTE]}…"
    return (
        stage.name,
        stage.state,
        _rows(stage),
        "" if stage.seconds is None else duration(stage.seconds),
        "" if stage.per_second is None else _speed(stage.per_second),
        "" if stage.seconds_left is None else duration(stage.seconds_left),
        format_dollars(stage.cost_usd),
        note,
    )


def _speed(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def _rows(stage: StageStatus) -> str:
    if stage.done is None:
        return ""
    of = "" if stage.total is None else f" of {stage.total:,}"
    return f"{stage.done:,}{of} {stage.unit}"


def _totals(status: RunStatus) -> str:
    so_far = "" if status.seconds is None else f"This attempt took {duration(status.seconds)} so far. "
    if status.state in ("complete", "failed", "cancelled") and status.seconds is not None:
        so_far = f"This attempt took {duration(status.seconds)}. "
    reused = sum(s.cost_usd or 0.0 for s in status.stages if s.state == "reused")
    spared = f", and reused what had cost {format_dollars(reused)}" if reused else ""
    return f"{so_far}This run paid {format_dollars(status.paid_usd)} for the stages that are done{spared}."


def _results(status: RunStatus) -> str:
    assert status.results is not None
    figures = status.results
    parts = ["## What came out"]
    rows = [
        (
            name,
            s["role"],
            percent(s["before"]["accuracy"], s["before"]["half_width_95"]),
            percent(s["after"]["accuracy"], s["after"]["half_width_95"]),
            points(s["change"]["accuracy"], s["change"]["half_width_95"]),
        )
        for name, s in figures["evaluation"].items()
    ]
    if rows:
        parts.append(table(("data set", "role", "before", "after", "change"), rows))
    ratio = figures["change_ratio"]
    told: Sequence[tuple[str, object]] = [
        ("questions", figures["questions"]),
        ("failures", figures["failures"]),
        ("pairs", figures["pairs"]),
        ("mean change ratio", ratio["mean"] if ratio else None),
        ("final loss", figures["final_loss"]),
    ]
    parts.append(table(("figure", "value"), [(name, value) for name, value in told if value is not None]))
    return "\n\n".join(parts)


def _places(status: RunStatus) -> str:
    places = [("run", status.folder), ("report", f"{status.folder}/report")]
    places += [("log", path) for path in status.logs]
    lines = [f"- {name}: `{_code(path)}`" for name, path in places]
    lines.append(f"- training curves: `{_code(status.tensorboard)}`")
    lines.append(f"- in a terminal: `spot status {_code(status.run_name)}`")
    if status.link:
        lines.append(f"- [flow run]({status.link})")
    return "\n".join(lines) + f"\n\nAs of {cell(format_time(status.at))}."


def _code(text: str) -> str:
    """Returns text that cannot end its code span."""
    return text.replace("`", "\u02cb").replace("\n", " ")


def format_dollars(cost: float | None) -> str:
    return "" if cost is None else f"${cost:,.2f}"


def format_time(at: str) -> str:
    """Returns a time in UTC as people write it; ``at`` is in ISO format."""
    return at.removesuffix("+00:00").replace("T", " ") + " UTC"
