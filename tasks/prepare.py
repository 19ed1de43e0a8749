"""Inputs of a run: questions, evaluation sets, imported responses."""

from prefect import task

from spot_core.config.spot import StageName
from spot_core.pipeline import stages
from spot_core.report.stage_pages import render_inputs
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.publish import publish


@task(name="read questions", **PATIENT)
def prepare(run_name: str, store: str, elsewhere: list[StageName]) -> None:
    """Reads and checks every input, before any engine starts; of stages that run elsewhere not their environment."""
    run = Run.open(store, run_name)
    artifacts = stages.prepare(run, elsewhere=elsewhere)
    publish("inputs", render_inputs(run, artifacts))
