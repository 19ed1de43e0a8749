"""Stage 1: the policy answers every question."""

from prefect import task

from spot_core.config.spot import StageName
from spot_core.pipeline import stages
from spot_core.report.stage_pages import render_rollout
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="sample responses", **PATIENT)
def roll_out(run_name: str, store: str, here: list[StageName]) -> None:
    """Samples what is missing and shows examples.

    It is the first stage on the machines of its work pool: what later stages there (`here`) need is checked now, before an
    Oracle is paid.
    """
    run = Run.open(store, run_name)
    stages.require_machine(run, here)
    with progress_artifact("rollout-progress", unit="responses") as progress:
        artifact = stages.roll_out(run, progress)
    publish("rollout", render_rollout(artifact))
