"""Automations as code."""

from datetime import timedelta

from prefect.automations import Automation
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.server.schemas.states import StateType

from flows.waiting import WAITS

ZOMBIES = "spot: runs without heartbeat are Crashed"
MISSED_HEARTBEATS = 3


def apply_zombie_automation(heartbeat_seconds: int) -> None:
    """Marks a flow run Crashed when its heartbeats stop, so that it can be retried. Applied once per server.

    A flow run whose process and worker were both killed would else stay Running for ever, and
    `prefect flow-run retry` refuses a running one.
    """
    wanted = Automation(
        name=ZOMBIES,
        description="A flow run that sends no heartbeat any more has lost its process; Crashed, it can be retried.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                "prefect.flow-run.Completed",
                "prefect.flow-run.Failed",
                "prefect.flow-run.Cancelled",
                "prefect.flow-run.Crashed",
                f"prefect.flow-run.{WAITS}",
                "prefect.flow-run.Suspended",  # no process belongs to it until it is resumed
                "prefect.flow-run.Paused",
            },
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED_HEARTBEATS * heartbeat_seconds),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no heartbeat for {MISSED_HEARTBEATS * heartbeat_seconds} s: its process is gone; retry it",
            )
        ],
    )
    try:
        existing = Automation.read(name=ZOMBIES)
    except ValueError:
        wanted.create()
        return
    if existing.trigger != wanted.trigger or existing.actions != wanted.actions:
        existing.trigger, existing.actions = wanted.trigger, wanted.actions
        existing.update()
