"""Stage 4: reference log-probs, then training."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report.stage_pages import render_reference, render_training
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="reference log-probs", **PATIENT)
def compute_reference(run_name: str, store: str) -> None:
    """Computes log π_ref of every pair, once per model and pairs."""
    with progress_artifact("reference-progress", unit="pairs") as progress:
        artifact = stages.compute_reference(Run.open(store, run_name), progress)
    publish("reference", render_reference(artifact))


@task(name="train policy", **PATIENT)
def train_policy(run_name: str, store: str) -> None:
    """Trains, going on from the last checkpoint, and shows the curves."""
    run = Run.open(store, run_name)
    with progress_artifact("train-progress", unit="optimizer steps") as progress:
        artifact = stages.train_policy(run, progress)
    publish("train", render_training(artifact))
