"""What the five stage flows have in common."""

from typing import Any

from flows.waiting import first_attempt
from spot_core.config.spot import StageName
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run

STAGE_OPTIONS: dict[str, Any] = {
    "flow_run_name": "{run_name}",
    "persist_result": False,  # the artifact store is the source of truth
}


def begin(stage: StageName, run_name: str, store: str, *, refresh: bool) -> None:
    """Asks for a new generation of the stage's artifacts if so told; what is retried or resumed goes on with the one begun."""
    if not refresh or not first_attempt():
        return
    run = Run.open(store, run_name)
    for node in Resolver(run).stage(stage):
        if node.recipe is not None and node.recipe.stage == stage:
            run.ask_anew(node.recipe, again=True)
