"""One GPU, one job: stages that use a GPU of this machine take turns, by a global concurrency limit of Prefect.

A lease of the limit is renewed as long as the stage runs, and ends by itself when its process was killed. If Prefect's
server is away for longer than that, the stage goes on, and another may begin beside it.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus

import httpx
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from flows.client import own_client
from spot_core.config.spot import StageName
from spot_core.errors import ConfigError
from spot_core.pipeline.machine import uses_gpu
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tasks.patience import patiently

LEASE_SECONDS = 60  # the least that Prefect allows
_ASK_SECONDS = 2.0
_REMIND_SECONDS = 60.0


@contextmanager
def gpu_for(stage: StageName, run_name: str, store: str) -> Iterator[None]:
    """Holds the right to the GPU for a stage of a run, if it has something to make and needs one; waits for it before.

    Raises:
        ConfigError: the limit that `dispatch.gpu_limit` names does not exist.
    """
    run = patiently(Run.open, store, run_name)
    limit = run.config.dispatch.gpu_limit
    if limit is None or not uses_gpu(run.config, stage) or patiently(Resolver(run).complete, stage):
        yield
        return
    held = _wait_for(limit, stage)
    try:
        yield
    finally:
        try:
            held.__exit__(None, None, None)
        except (
            httpx.HTTPStatusError,
            httpx.TransportError,
        ) as error:  # the stage's work is done all the same
            get_run_logger().warning(
                "%s could not be given back (%s): it is free in %d s", limit, error, LEASE_SECONDS
            )


def _wait_for(limit: str, stage: StageName) -> AbstractContextManager[None]:
    """Takes a slot of the limit as soon as there is one, and says for whom it waits."""
    log = get_run_logger()
    reminded, said = -_REMIND_SECONDS, ""
    while True:
        held = concurrency(
            limit,
            max_retries=0,  # Prefect's own wait is silent, and ends when the server is away
            lease_duration=LEASE_SECONDS,
            strict=True,
            raise_on_lease_renewal_failure=False,
        )
        try:
            held.__enter__()
        except ConcurrencySlotAcquisitionError as error:
            why = _why_not(limit, error)
        else:
            log.info("stage %s holds %s", stage, limit)
            return held
        # Who holds it is known a little late.
        if why != said or time.monotonic() - reminded > _REMIND_SECONDS:
            reminded, said = time.monotonic(), why
            log.info("stage %s waits for the GPU (%s): %s", stage, limit, why)
        time.sleep(_ASK_SECONDS)


def _why_not(limit: str, error: ConcurrencySlotAcquisitionError) -> str:
    """Why the limit gave no slot.

    Raises:
        ConfigError: there is no such limit.
        ConcurrencySlotAcquisitionError: the server refuses for a reason of its own.
    """
    match error.__cause__:
        case None:
            raise ConfigError(
                f"dispatch.gpu_limit = {limit!r}: there is no such global concurrency limit on this Prefect server; make "
                f"it with: prefect gcl create {limit} --limit 1 (or set dispatch.gpu_limit to null)"
            ) from error
        case httpx.HTTPStatusError() as refused if refused.response.status_code == HTTPStatus.LOCKED:
            return f"it is used by {_holders(limit)}"
        case (
            httpx.TransportError() | httpx.HTTPStatusError(response=httpx.Response(is_server_error=True))
        ) as away:
            return f"Prefect's server cannot be asked ({away})"
        case _:
            raise error


def _holders(limit: str) -> str:
    """Those who took a slot last, by Prefect's events, which may lag a little behind."""
    with own_client() as client:
        try:
            known = client.read_global_concurrency_limit_by_name(limit)
        except ObjectNotFound:  # deleted meanwhile; the next try says so
            return "another run"
        taken = EventFilter(
            event=EventNameFilter(name=["prefect.concurrency-limit.acquired"]),
            resource=EventResourceFilter(id=[f"prefect.concurrency-limit.{known.id}"]),
        )
        events = client.read_events(taken, limit=max(1, known.limit)).events
    names = [
        f"{kind.name} of run {run.name!r}"
        for event in events
        for run in event.related
        for kind in event.related
        if run.role == "flow-run" and kind.role == "flow"
    ]
    return ", ".join(names) or "another run"
