"""How the flow `spot` has a stage done: asks the store, runs the stage if something is missing, notes what was used."""

from prefect.logging import get_run_logger
from prefect.states import State

from flows.dispatching import has_own_pool, run_through_deployment
from flows.evaluate import evaluate
from flows.filter import filter
from flows.rectify import rectify
from flows.rollout import rollout
from flows.train import train
from flows.waiting import WAITS, needed_by, of_this_attempt
from spot_core.config.dispatch import DispatchConfig
from spot_core.config.spot import STAGES, StageName
from spot_core.errors import ConfigError
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tasks.patience import patiently

STAGE_FLOWS = {"rollout": rollout, "filter": filter, "rectify": rectify, "train": train, "evaluate": evaluate}


def ensure(stage: StageName, run_name: str, store: str) -> None:
    """Runs a stage unless the store has all of it.

    When the flow is retried or resumed, Prefect answers for each subflow that completed before without running it. The
    store knows better: if something is still missing after that, the stage runs under a new flow run.

    Raises:
        PersonNeededError: the stage cannot go on without one.
    """
    while True:
        resolver, complete = patiently(_look, stage, run_name, store)
        if complete:
            break
        get_run_logger().info("stage %s: making what is missing", stage)
        state = _run(stage, resolver.run, store)
        if not of_this_attempt(state):
            continue
        made, complete = patiently(_look, stage, run_name, store)
        if state.name == WAITS:
            raise needed_by(made.run, stage)
        assert complete, f"stage {stage} completed without its artifact"
    patiently(record_use, resolver, stage)


def _look(stage: StageName, run_name: str, store: str) -> tuple[Resolver, bool]:
    """What the store says of the run now, and whether all of the stage is there."""
    resolver = Resolver(Run.open(store, run_name))
    return resolver, resolver.complete(stage)


def _run(stage: StageName, run: Run, store: str) -> State:
    """Runs a stage where the configuration says; raises what it raised."""
    if has_own_pool(stage, run.config.dispatch):
        return run_through_deployment(stage, {"run_name": run.name, "store": store})
    state = STAGE_FLOWS[stage](run.name, store, return_state=True)
    if not state.is_completed():
        state.result()
    return state


def run_elsewhere(dispatch: DispatchConfig) -> list[StageName]:
    """Stages that workers of other work pools run, maybe on other machines."""
    return [stage for stage in STAGES if has_own_pool(stage, dispatch)]


def record_use(resolver: Resolver, stage: StageName) -> None:
    """Notes in the run's record which artifacts it uses; those it made itself are noted already, as made."""
    for node in resolver.stage(stage):
        assert node.artifact is not None
        get_run_logger().info(
            "%s: %s/%s/%s", node.name, node.artifact.stage, node.artifact.key, node.artifact.generation
        )
        resolver.run.use(node.name, node.artifact, reused=True)


def stages_from(first: StageName | None, run: Run) -> tuple[StageName, ...]:
    """A stage and all after it, to make anew; none if ``first`` is None.

    Raises:
        ConfigError: something that they start from is missing.
    """
    if first is None:
        return ()
    before, after = STAGES[: STAGES.index(first)], STAGES[STAGES.index(first) :]
    resolver = Resolver(run)
    nodes = [*resolver.inputs(), *(node for stage in before for node in resolver.stage(stage))]
    if missing := [node.name for node in nodes if node.artifact is None]:
        raise ConfigError(
            f"from_stage = {first!r}: of run {run.name!r} {', '.join(missing)} is missing in {run.store.root}. "
            f"Begin with an earlier stage, or without from_stage: what is there is reused"
        )
    return after
