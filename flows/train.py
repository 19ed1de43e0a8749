"""Stage 4, train: reference log-probs, then training on the accepted pairs."""

from prefect import flow

from flows.gpu import gpu_for
from flows.stage import STAGE_OPTIONS, begin
from tasks.train import compute_reference, train_policy


@flow(name="train", **STAGE_OPTIONS)
def train(run_name: str, store: str = "artifacts", refresh: bool = False) -> None:
    """Runs stage `train` of the run `run_name`: makes what is missing, or with `refresh` makes it anew."""
    begin("train", run_name, store, refresh=refresh)
    with gpu_for("train", run_name, store):
        compute_reference(run_name, store)
        train_policy(run_name, store)
