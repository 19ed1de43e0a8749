"""A task tries again by itself what mends itself: Prefect's server is away, or the store is full or read-only for a while.

What was done before is kept, so that trying again costs little. Everything else fails at once and is left to a person.
"""

import errno
from typing import Any

import httpx
from prefect.client.schemas.objects import TaskRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import State
from prefect.tasks import Task

_DELAYS_SECONDS = [5, 10, 20, 40, 80, 160]
_STORE_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def mends_itself(error: object) -> bool:
    """Whether the same may succeed in a while although nobody changes anything."""
    match error:
        case PrefectHTTPStatusError():
            return error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR  # its database is away
        case httpx.TransportError():
            return True
        case OSError():
            return error.errno in _STORE_TROUBLE
        case _:
            return False


def _again(task: Task[..., Any], task_run: TaskRun, state: State) -> bool:
    return mends_itself(state.data)


PATIENT: dict[str, Any] = {
    "retries": len(_DELAYS_SECONDS),
    "retry_delay_seconds": _DELAYS_SECONDS,
    "retry_condition_fn": _again,
}
"""Options of every task that writes to the store or shows something in the UI."""
