"""Stage 5: accuracy before and after."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report.stage_pages import render_evaluation
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="evaluate before and after", **PATIENT)
def evaluate_models(run_name: str, store: str) -> None:
    """Evaluates what is missing and shows both models side by side."""
    run = Run.open(store, run_name)
    with progress_artifact("evaluate-progress", unit="responses") as progress:
        artifacts = stages.evaluate_models(run, progress)
    publish("evaluate", render_evaluation(run.config.evaluate.datasets, artifacts))
