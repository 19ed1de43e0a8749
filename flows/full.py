"""The whole method as one flow: rollout → filter → rectify → train → evaluate.

Run it with `prefect deployment run spot/full`, watch it in the Prefect UI, rerun what failed.
"""

from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.dispatching import cancel_children, cancel_own_children, wait_for_living_children
from flows.monitor import monitored
from flows.stages import ensure, run_elsewhere, stages_from
from flows.waiting import agree, first_attempt, suspend, this_run
from spot_core.config.base import given
from spot_core.config.spot import STAGES, SpotConfig, SpotOverrides, StageName
from spot_core.errors import PersonNeededError
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tasks.cancellation import heed_cancellation
from tasks.console import outlive_reader
from tasks.patience import patiently
from tasks.plan import show_plan
from tasks.prepare import prepare
from tasks.summary import summarise

NEED_PAIRS = ("train", "evaluate")


@flow(name="spot", persist_result=True, result_serializer="json", on_cancellation=[cancel_children])
def spot(
    profile: str = "demo",
    config: SpotOverrides | None = None,
    run_name: str | None = None,
    refresh: list[StageName] | None = None,
    *,
    from_stage: StageName | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Lifts a model's reasoning by training on minimal corrections of its own mistakes (SPoT, arXiv 2603.01683).

    Args:
        profile: Name of a profile (demo, smollm2, qwen3-8b, llama3.1-8b), or the path of a YAML file.
        config: Settings that differ from the profile's.
        run_name: Name of the run and of its folder in the store; unset: the flow run's name.
        refresh: Stages to make anew although their artifacts exist.
        from_stage: Make this stage and all after it anew; those before it have to be there.
        dry_run: Only show what would run, what is reused, and what it would cost.

    Returns:
        The run's summary, as in `summary.json`.
    """
    outlive_reader()
    heed_cancellation(first=cancel_own_children())
    settings = SpotConfig.from_profile(profile, **given(config))
    if dry_run:
        return show_plan(settings, (*(refresh or ()), *stages_from(from_stage, Run.rehearse(settings))))
    run = patiently(Run.create, settings, run_name or flow_run.name)
    this = str(this_run().id)
    if this not in run.record.heard:  # an attempt goes on with what an earlier one wanted anew
        anew = (*(refresh or ()), *stages_from(from_stage, run))
        patiently(run.want_anew, anew, told_by=this)
    if not first_attempt():
        wait_for_living_children()
    patiently(agree, run)
    try:
        with monitored(run):
            return _make(run)
    except PersonNeededError as needed:
        suspend(needed)


def _make(run: Run) -> dict[str, Any]:
    """Has every stage done; returns the run's summary."""
    store = run.config.store
    prepare(run.name, store, run_elsewhere(run.config.dispatch))
    for stage in STAGES:
        if stage in NEED_PAIRS and (reason := patiently(Resolver(run).nothing_to_train_on)):
            get_run_logger().warning("stage %s is skipped: %s", stage, reason)
            patiently(run.skip, stage, reason)
            continue
        ensure(stage, run.name, store)
        run = patiently(Run.open, store, run.name)
    return summarise(run.name, store)
