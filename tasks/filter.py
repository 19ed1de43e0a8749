"""Stage 2: check the answers, keep the failures."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report.filter_page import render_filter_page
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="check answers", **PATIENT)
def check_answers(run_name: str, store: str) -> None:
    """Checks what is missing and shows verdicts."""
    run = Run.open(store, run_name)
    with progress_artifact("filter-progress", unit="answers") as progress:
        artifact = stages.check_answers(run, progress)
    publish("filter", render_filter_page(artifact, take=run.config.filter.take))
