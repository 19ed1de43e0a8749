"""A flow that waits for a person: it is suspended, holds no process meanwhile, and goes on when it is resumed.

Prefect can suspend only a deployment's own flow run, not a subflow. On resume the flow runs from its beginning, with
the same ``run_count``; what it was suspended for is in its record as *pause keys*, and in those states themselves.
"""

from datetime import timedelta
from itertools import pairwise
from typing import NoReturn

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.states import Completed, State

from flows.client import own_client
from spot_core.config.spot import StageName
from spot_core.errors import PersonNeededError
from spot_core.runs import Run
from tasks.patience import patiently
from tasks.publish import publish

WAITS = "WaitsForPerson"
"""Name of the state in which a stage ends that cannot go on without a person."""
PAGE = "rectify-waits"
"""Key of the artifact that says what is waited for; its description is the same in a few words."""


def this_run() -> FlowRun:
    """The flow run that asks."""
    context = FlowRunContext.get()
    assert context is not None, "called inside a flow"
    assert context.flow_run is not None, "a flow run has a record"
    return context.flow_run


def first_attempt() -> bool:
    """True unless the flow run was retried or resumed."""
    return this_run().run_count <= 1 and not this_run().empirical_policy.pause_keys


def agree(run: Run) -> None:
    """Confirms for the run what this flow run was suspended for and resumed from.

    Pause keys alone do not tell: they outlive a wait that was cancelled or took too long, and the retry after it.
    """
    with own_client() as client:
        past = client.read_flow_run_states(this_run().id)
    for waited, then in pairwise(past):
        _, _, key = (waited.state_details.pause_key or "").partition(":")
        if key and then.name == "Resuming":
            run.confirm(key)


def of_this_attempt(state: State) -> bool:
    """False for the state of a subflow that completed before this flow was last resumed or retried.

    Prefect answers for such a subflow without running it. Both times are by the server's clock.
    """
    began = this_run().state
    assert began is not None
    return state.timestamp >= began.timestamp


def end_waiting(run: Run, stage: StageName, needed: PersonNeededError) -> State:
    """Ends a stage that needs a person: its own flow run is suspended; as a child it ends in the state returned here, so
    that its parent suspends itself. What is needed is in the run's record: a child may be on another machine.

    Raises:
        Pause: the flow run is suspended.
        PersonNeededError: see `suspend`.
    """
    patiently(run.wait, stage, needed)
    if this_run().parent_task_run_id is None:
        suspend(needed)
    return Completed(name=WAITS, message=str(needed))


def needed_by(run: Run, stage: StageName) -> PersonNeededError:
    """What a stage ended for that is in state `WAITS`."""
    wait = run.record.waits[stage]
    return PersonNeededError(wait.message, page=wait.page, wait_days=wait.wait_days, key=wait.key)


def suspend(needed: PersonNeededError) -> NoReturn:
    """Suspends this flow run until a person resumes it.

    To be the last thing that the flow does: a heartbeat after it would be taken for a sign of life, and the run for dead
    when no other follows.

    Raises:
        Pause: the flow run is suspended; Prefect's own, and the way to leave the flow.
        PersonNeededError: this flow run is no deployment's, so Prefect could not run it again.
    """
    if this_run().deployment_id is None:
        raise needed
    how = (
        f"\n\n**Resume** with the button of this flow run, or in a terminal:\n\n```text\nspot resume {this_run().id}\n```"
        f"\n\nAfter {needed.wait_days:g} days the run fails; nothing is lost then, and a retry waits again."
    )
    publish(PAGE, f"# Waits for a person\n\n{needed.page}{how}", description=str(needed))
    round_ = len(this_run().empirical_policy.pause_keys or ()) + 1
    timeout = timedelta(days=needed.wait_days).total_seconds()
    suspend_flow_run(key=f"{round_}:{needed.key or ''}", timeout=round(timeout))
    raise AssertionError("a pause key that is new suspends the flow run")
