"""The whole method as one flow: rollout → filter → rectify → train → evaluate.

Run it with `prefect deployment run spot/full`, watch it in the Prefect UI, rerun what failed.
"""

from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.evaluate import evaluate
from flows.filter import filter
from flows.rectify import rectify
from flows.rollout import rollout
from flows.train import train
from flows.waiting import WAITS, agree, first_attempt, of_this_attempt, wait_for_person
from spot_core.config.base import given
from spot_core.config.spot import STAGES, SpotConfig, SpotOverrides, StageName
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tasks.plan import show_plan
from tasks.prepare import prepare
from tasks.summary import summarise

NEED_PAIRS = ("train", "evaluate")
STAGE_FLOWS = {"rollout": rollout, "filter": filter, "rectify": rectify, "train": train, "evaluate": evaluate}


@flow(name="spot", persist_result=True, result_serializer="json")
def spot(
    profile: str = "demo",
    config: SpotOverrides | None = None,
    run_name: str | None = None,
    refresh: list[StageName] | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Lifts a model's reasoning by training on minimal corrections of its own mistakes (SPoT, arXiv 2603.01683).

    Args:
        profile: Name of a profile (demo, smollm2, qwen3-8b, llama3.1-8b), or the path of a YAML file.
        config: Settings that differ from the profile's.
        run_name: Name of the run and of its folder in the store; unset: the flow run's name.
        refresh: Stages to make anew although their artifacts exist.
        dry_run: Only show what would run, what is reused, and what it would cost.

    Returns:
        The run's summary, as in `summary.json`.
    """
    settings = SpotConfig.from_profile(profile, **given(config))
    if dry_run:
        return show_plan(settings, tuple(refresh or ()))
    run = Run.create(settings, run_name or flow_run.name)
    if first_attempt():  # what is retried or resumed goes on with what its first attempt wanted anew
        run.want_anew(tuple(refresh or ()))
    agree(run)
    prepare(run.name, settings.store)
    for stage in STAGES:
        if stage in NEED_PAIRS and (reason := Resolver(run).nothing_to_train_on()):
            get_run_logger().warning("stage %s is skipped: %s", stage, reason)
            run.skip(stage, reason)
            continue
        ensure(stage, run.name, settings.store)
        run = Run.open(settings.store, run.name)
    return summarise(run.name, settings.store)


def ensure(stage: StageName, run_name: str, store: str) -> None:
    """Runs a stage unless the store has all of it; suspends the flow where the stage needs a person.

    When the flow is retried or resumed, Prefect answers for each run of a stage that completed before without running
    it. The store knows better: if something is still missing after that, the stage runs under a new flow run.
    """
    while not (resolver := Resolver(Run.open(store, run_name))).complete(stage):
        get_run_logger().info("stage %s: making what is missing", stage)
        state = STAGE_FLOWS[stage](run_name, store, return_state=True)
        if not of_this_attempt(state):
            continue
        needed = state.result()  # raises what the stage raised
        if state.name == WAITS:
            wait_for_person(needed)
        assert Resolver(Run.open(store, run_name)).complete(stage), (
            f"stage {stage} completed without its artifact"
        )
    record_use(resolver, stage)


def record_use(resolver: Resolver, stage: StageName) -> None:
    """Notes in the run's record which artifacts it uses; those it made itself are noted already, as made."""
    for node in resolver.stage(stage):
        assert node.artifact is not None
        get_run_logger().info(
            "%s: %s/%s/%s", node.name, node.artifact.stage, node.artifact.key, node.artifact.generation
        )
        resolver.run.use(node.name, node.artifact, reused=True)
