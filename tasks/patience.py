"""What mends itself is tried again without a person: Prefect's server or the store is away, full or read-only for a while.

What was done before is kept, so that trying again costs little. Everything else fails at once and is left to a person.
"""

import errno
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect.client.schemas.objects import TaskRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import State
from prefect.tasks import Task

from spot_core.errors import StorageError, StoreAwayError

P = ParamSpec("P")
T = TypeVar("T")

_DELAYS_SECONDS = [5, 10, 20, 40, 80, 160]
_STORE_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def mends_itself(error: object) -> bool:
    """Whether the same may succeed in a while although nobody changes anything."""
    match error:
        case PrefectHTTPStatusError():
            return error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR  # its database is away
        case httpx.TransportError() | StorageError() | StoreAwayError():
            return True
        case OSError():
            return error.errno in _STORE_TROUBLE
        case _:
            return False


def _again(task: Task[..., Any], task_run: TaskRun, state: State) -> bool:
    return mends_itself(state.data)


def patiently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Makes a call that belongs to no task, and again as tasks are tried again; returns what it returned.

    Raises:
        Exception: what the call raised, if it does not mend itself, or not in that time.
    """
    for delay in _DELAYS_SECONDS:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if not mends_itself(error):
                raise
            get_run_logger().warning("%s; tried again in %d s", error, delay)
            time.sleep(delay)
    return call(*args, **kwargs)


PATIENT: dict[str, Any] = {
    "retries": len(_DELAYS_SECONDS),
    "retry_delay_seconds": _DELAYS_SECONDS,
    "retry_condition_fn": _again,
}
"""Options of every task that writes to the store or shows something in the UI."""
