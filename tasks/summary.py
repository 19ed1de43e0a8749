"""The end of a run: summary.json, and the same for people."""

from typing import Any

from prefect import task

from spot_core.report.stage_pages import render_summary
from spot_core.report.summary import write_summary
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.publish import publish


@task(name="summarise", **PATIENT)
def summarise(run_name: str, store: str) -> dict[str, Any]:
    """Writes the run's summary and shows it; returns it."""
    run = Run.open(store, run_name)
    summary = write_summary(run)
    publish("summary", render_summary(run, summary))
    return summary
