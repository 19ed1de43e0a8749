"""Stage 5, evaluate: accuracy before and after."""

from prefect import flow

from flows.gpu import gpu_for
from flows.stage import STAGE_OPTIONS, begin
from tasks.evaluate import evaluate_models


@flow(name="evaluate", **STAGE_OPTIONS)
def evaluate(run_name: str, store: str = "artifacts", refresh: bool = False) -> None:
    """Runs stage `evaluate` of the run `run_name`: makes what is missing, or with `refresh` makes it anew."""
    begin("evaluate", run_name, store, refresh=refresh)
    with gpu_for("evaluate", run_name, store):
        evaluate_models(run_name, store)
