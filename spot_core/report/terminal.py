"""Runs in the terminal: a summary, where one is, a list of them, two side by side."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from spot_core.pipeline.reached import duration
from spot_core.report.comparison import Comparison
from spot_core.report.listing import ListedRun
from spot_core.report.markdown import percent, points, visible
from spot_core.report.run_page import HEADER, cells, clock, dollars
from spot_core.report.status import RunStatus


def results_table(figures: Mapping[str, Any]) -> Table:
    """Of a run's summary: before and after of every data set, or why training was skipped."""
    table = Table(
        title=f"run {figures['run_name']}: {figures['pairs']} pairs, objective {figures['objective']}"
    )
    for column in ("data set", "role", "before", "after", "change"):
        table.add_column(column)
    for stage, reason in figures["skipped"].items():
        table.add_row(stage, f"skipped: {reason}", "", "", "")
    for name, scores in figures["evaluation"].items():
        before, after, change = scores["before"], scores["after"], scores["change"]
        table.add_row(
            name,
            scores["role"],
            percent(before["accuracy"], before["half_width_95"]),
            percent(after["accuracy"], after["half_width_95"]),
            points(change["accuracy"], change["half_width_95"]),
        )
    return table


def status_table(status: RunStatus) -> Table:
    """The stages of a run, as on its page."""
    table = Table(*HEADER, "how it goes", title=f"run {status.run_name}: {status.state}")
    for stage in status.stages:
        table.add_row(*(escape(visible(text)) for text in cells(stage)))
    return table


def runs_table(runs: Iterable[tuple[ListedRun, str]]) -> Table:
    """Runs of a store, each with the state that Prefect has it in (empty: unknown)."""
    header = (
        "run",
        "created",
        "profile",
        "objective",
        "state",
        "Prefect",
        "pairs",
        "accuracy",
        "time",
        "cost",
    )
    table = Table(*header)
    for run, prefect in runs:
        state = run.state if run.state == "complete" or run.stage is None else f"{run.state}, at {run.stage}"
        accuracy = ""
        if run.accuracy_before is not None:
            accuracy = f"{percent(run.accuracy_before)} → {percent(run.accuracy_after)}"
        table.add_row(
            run.run_name,
            clock(run.created),
            run.profile,
            run.objective,
            state,
            prefect,
            "" if run.pairs is None else f"{run.pairs:,}",
            accuracy,
            duration(run.seconds),
            dollars(run.cost_usd),
        )
    return table


def comparison_tables(compared: Comparison) -> Iterator[Table]:
    """Two runs side by side."""
    for title, header, lines in compared.tables():
        table = Table(*header, title=title)
        for line in lines or [("none",)]:
            table.add_row(*(escape(visible(text)) for text in line))
        yield table
