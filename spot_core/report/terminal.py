"""Tables for the terminal: results and status of a run, a list of runs, two runs side by side."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from spot_core.markdown import percent, points, visible
from spot_core.pipeline.reached import duration
from spot_core.report.comparison import Comparison
from spot_core.report.run_list import ListedRun
from spot_core.report.run_page import HEADER, format_dollars, format_stage, format_time
from spot_core.report.status import RunStatus


def make_results_table(figures: Mapping[str, Any]) -> Table:
    """Returns a table of a run's summary: accuracies before and after, or why training was skipped."""
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


def make_status_table(status: RunStatus) -> Table:
    """Returns a table of the stages of a run, as on its page."""
    table = Table(*HEADER, "how it goes", title=f"run {status.run_name}: {status.state}")
    for stage in status.stages:
        table.add_row(*(escape(visible(text)) for text in format_stage(stage)))
    return table


def make_runs_table(runs: Iterable[tuple[ListedRun, str]]) -> Table:
    """Returns a table of runs, each given with its state in Prefect (empty: unknown)."""
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
            format_time(run.created),
            run.profile,
            run.objective,
            state,
            prefect,
            "" if run.pairs is None else f"{run.pairs:,}",
            accuracy,
            duration(run.seconds),
            format_dollars(run.cost_usd),
        )
    return table


def make_comparison_tables(compared: Comparison) -> Iterator[Table]:
    """Yields the tables of a comparison."""
    for title, header, lines in compared.tables():
        table = Table(*header, title=title)
        for line in lines or [("none",)]:
            table.add_row(*(escape(visible(text)) for text in line))
        yield table
