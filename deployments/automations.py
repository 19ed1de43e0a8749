"""Automations as code: runs without a process come to an end, and runs that fail are told of."""

from collections.abc import Iterable
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.server.schemas.states import StateType

from deployments.notices import Notice
from flows.waiting import WAITS

ZOMBIES = "spot: runs without heartbeat are Crashed"
UNSTARTED = "spot: runs that were claimed and did not start are Crashed"
UNENDED = "spot: runs that are cancelled and do not end are Cancelled"
FAILURES = "spot: runs that fail are told of"
MISSED_HEARTBEATS = 10
"""Five minutes: flows bear four without the server, and once it is back it must not take those that live for dead."""
CANCEL_SECONDS = 120
"""A living process ends sooner: replies that are under way and uploads included."""
_ENDS = ("Completed", "Failed", "TimedOut", "Cancelled", "Crashed", WAITS)
_WITHOUT_PROCESS = ("Suspended", "Paused", "AwaitingRetry", "AwaitingConcurrencySlot")
"""States of a run that no process belongs to until it is resumed or started again."""


def apply_zombie_automation(heartbeat_seconds: int) -> None:
    """Marks a flow run Crashed when its heartbeats stop, so that it can be retried. Applied once per server.

    A flow run whose process and worker were both killed would else stay Running for ever, and
    `prefect flow-run retry` refuses a running one. A run that is queued has sent none yet, and is left alone.
    """
    silence = MISSED_HEARTBEATS * heartbeat_seconds
    _end(
        ZOMBIES,
        "A flow run that sends no heartbeat any more has lost its process; Crashed, it can be retried.",
        after=("heartbeat",),
        unless=("heartbeat", *_ENDS, *_WITHOUT_PROCESS),
        within=silence,
        message=f"no heartbeat for {silence} s: its process is gone; retry it",
    )


def apply_unstarted_automation(seconds: int) -> None:
    """Marks a flow run Crashed that a worker claimed and did not start in this time. Applied once per server.

    No other worker takes it: the one that claimed it was killed in that moment. For workers that start processes only,
    since a Kubernetes job may rightly wait for a node for hours.
    """
    _end(
        UNSTARTED,
        "A flow run that a worker claimed and did not start is taken by no other; Crashed, it can be retried.",
        after=("Pending", "Submitting", "InfrastructurePending"),
        unless=("Running", "Retrying", "heartbeat", *_ENDS, *_WITHOUT_PROCESS),
        within=seconds,
        message=f"not started {seconds} s after a worker had claimed it: that worker is gone; retry it",
    )


def apply_unended_automation() -> None:
    """Marks a flow run Cancelled that was cancelled and whose process and worker are both gone. Applied once per server.

    Prefect lets a run that is being cancelled become nothing else, so the other automations cannot end it.
    """
    _end(
        UNENDED,
        "A flow run that is being cancelled and does not end has lost its process and its worker.",
        after=("Cancelling",),
        unless=_ENDS,
        within=CANCEL_SECONDS,
        message=f"not ended {CANCEL_SECONDS} s after it was cancelled: its process is gone",
        state=StateType.CANCELLED,
    )


def _end(
    name: str,
    description: str,
    *,
    after: Iterable[str],
    unless: Iterable[str],
    within: int,
    message: str,
    state: StateType = StateType.CRASHED,
) -> None:
    apply(
        Automation(
            name=name,
            description=description,
            trigger=EventTrigger(
                after={f"prefect.flow-run.{event}" for event in after},
                expect={f"prefect.flow-run.{event}" for event in unless},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=within),
            ),
            actions=[ChangeFlowRunState(state=state, message=message)],
        )
    )


def apply_failure_notice(notice: Notice) -> None:
    """Sends one message for every whole run (flow `spot`) that ends Failed or Crashed, with what it said.

    A stage's failure is its run's failure too, and is not told of twice.
    """
    block = notice.block_document_id
    action = (
        CallWebhook(block_document_id=block, payload=notice.payload)
        if notice.webhook
        else SendNotification(block_document_id=block, subject=notice.subject, body=notice.text)
    )
    apply(
        Automation(
            name=FAILURES,
            description="Sends run, state, reason and link when a whole run ends Failed or Crashed.",
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{state}" for state in ("Failed", "TimedOut", "Crashed")},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": "spot"},
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[action],
        )
    )


def apply(wanted: Automation) -> bool:
    """Makes the automation of this name be like ``wanted``; returns False if it was so already.

    Whether it is enabled stays as it was set in the UI.
    """
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(name=wanted.name)
    if not found:
        wanted.create()
        return True
    existing = Automation(**found[0].model_dump())
    same = (existing.description, existing.trigger, existing.actions) == (
        wanted.description,
        wanted.trigger,
        wanted.actions,
    )
    if not same:
        existing.description, existing.trigger, existing.actions = (
            wanted.description,
            wanted.trigger,
            wanted.actions,
        )
        existing.update()
    return not same
