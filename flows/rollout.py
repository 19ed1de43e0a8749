"""Stage 1, rollout: the policy answers every question."""

from prefect import flow

from flows.dispatching import stages_of_own_pool
from flows.gpu import gpu_for
from flows.stage import STAGE_OPTIONS, begin
from tasks.rollout import roll_out


@flow(name="rollout", **STAGE_OPTIONS)
def rollout(run_name: str, store: str = "artifacts", refresh: bool = False) -> None:
    """Runs stage `rollout` of the run `run_name`: makes what is missing, or with `refresh` makes it anew."""
    begin("rollout", run_name, store, refresh=refresh)
    with gpu_for("rollout", run_name, store):
        roll_out(run_name, store, stages_of_own_pool())
