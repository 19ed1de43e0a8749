"""A run's summary for the terminal."""

import json

from rich.table import Table

from spot_core.report.markdown import percent, points
from spot_core.report.summary import SUMMARY
from spot_core.runs import Run


def summary_text(run: Run) -> Table:
    """Before and after of every data set, or why training was skipped."""
    figures = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
    table = Table(title=f"run {run.name}: {figures['pairs']} pairs, objective {figures['objective']}")
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
