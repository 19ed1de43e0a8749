"""The dry run's page."""

from typing import Any

from prefect import task
from prefect.logging import get_run_logger

from spot_core.config.spot import SpotConfig
from spot_core.pipeline.plan import make_plan
from tasks.publish import publish


@task(name="plan")
def show_plan(config: SpotConfig, refresh: tuple[str, ...]) -> dict[str, Any]:
    """Shows what a run would do; touches nothing."""
    plan = make_plan(config, refresh=refresh)
    get_run_logger().info("\n%s", plan.text())
    publish("plan", plan.markdown())
    return plan.summary()
