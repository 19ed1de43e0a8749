"""Stage 1: the policy answers every question."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report import pages
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="sample responses", **PATIENT)
def roll_out(run_name: str, store: str) -> None:
    """Samples what is missing and shows examples."""
    run = Run.open(store, run_name)
    with progress_artifact("rollout-progress", unit="responses") as progress:
        artifact = stages.roll_out(run, progress)
    publish("rollout", pages.rollout(artifact))
