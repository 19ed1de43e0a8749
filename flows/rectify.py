"""Stage 3, rectify: the Oracle edits the failures."""

from prefect import flow
from prefect.states import State

from flows.gpu import gpu_for
from flows.stage import STAGE_OPTIONS, begin
from flows.waiting import agree, end_waiting
from spot_core.runs import Run
from tasks.patience import patiently
from tasks.rectify import rectify_failures


@flow(name="rectify", **STAGE_OPTIONS)
def rectify(run_name: str, store: str = "artifacts", refresh: bool = False) -> State | None:
    """Runs stage `rectify` of the run `run_name`: makes what is missing, or with `refresh` makes it anew.

    Where it cannot go on without a person it is suspended, until someone resumes it.
    """
    begin("rectify", run_name, store, refresh=refresh)
    patiently(agree, patiently(Run.open, store, run_name))
    with gpu_for("rectify", run_name, store):
        needed = rectify_failures(run_name, store)
    return None if needed is None else end_waiting(patiently(Run.open, store, run_name), "rectify", needed)
