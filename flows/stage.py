"""What the five stage flows have in common."""

from typing import Any

from flows.waiting import this_run
from spot_core.config.spot import StageName
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tasks.cancellation import heed_cancellation
from tasks.console import outlive_reader
from tasks.patience import patiently

STAGE_OPTIONS: dict[str, Any] = {
    "flow_run_name": "{run_name}",
    "persist_result": False,  # the artifact store is the source of truth
}


def begin(stage: StageName, run_name: str, store: str, *, refresh: bool) -> None:
    """Asks for a new generation of the stage's artifacts if so told; a retry goes on with the one begun."""
    outlive_reader()
    heed_cancellation()
    if not refresh:
        return
    run, this = patiently(Run.open, store, run_name), str(this_run().id)
    if this in run.record.heard:
        return
    for node in patiently(Resolver(run).stage, stage):
        if node.recipe is not None and node.recipe.stage == stage:
            patiently(run.ask_anew, node.recipe, again=True)
    patiently(run.hear, this)
