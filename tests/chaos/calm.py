"""The same run in peace, by the library alone: no Prefect, no network that could break."""

import os
from typing import Any

from spot_core.config.spot import SpotConfig
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tests.chaos.topology import Topology


def run_in_peace(topology: Topology, settings: dict[str, Any], run_name: str) -> Run:
    """Makes every stage in a store of its own, one after the other, with an Oracle that nothing happens to."""
    os.environ["OPENAI_API_KEY"] = topology.env["OPENAI_API_KEY"]
    config = SpotConfig.from_profile(
        "demo", **settings | {"store": str(topology.calm_store), "rectify": {"oracle": topology.calm_oracle}}
    )
    run = Run.create(config, run_name)
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    stages.rectify_failures(run)
    if Resolver(run).nothing_to_train_on() is None:
        stages.compute_reference(run)
        stages.train_policy(run)
        stages.evaluate_models(run)
    return Run.open(config.store, run_name)
