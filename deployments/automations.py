"""Automations as code: runs without a process are Crashed, and a run that fails is told of."""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.server.schemas.states import StateType

from deployments.notices import Notice
from flows.waiting import WAITS

ZOMBIES = "spot: runs without heartbeat are Crashed"
FAILURES = "spot: runs that fail are told of"
MISSED_HEARTBEATS = 3
_SIGNS = (
    "heartbeat",
    # Final states, and those of a run that no process belongs to until it is resumed or started again.
    "Completed",
    "Failed",
    "TimedOut",
    "Cancelled",
    "Crashed",
    WAITS,
    "Suspended",
    "Paused",
    "AwaitingRetry",
    "AwaitingConcurrencySlot",
)


def apply_zombie_automation(heartbeat_seconds: int) -> None:
    """Marks a flow run Crashed when its heartbeats stop, so that it can be retried. Applied once per server.

    A flow run whose process and worker were both killed would else stay Running for ever, and
    `prefect flow-run retry` refuses a running one. A run that is queued has sent none yet, and is left alone.
    """
    silence = MISSED_HEARTBEATS * heartbeat_seconds
    apply(
        Automation(
            name=ZOMBIES,
            description="A flow run that sends no heartbeat any more has lost its process; Crashed, it can be retried.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={f"prefect.flow-run.{sign}" for sign in _SIGNS},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=silence),
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no heartbeat for {silence} s: its process is gone; retry it",
                )
            ],
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
