"""When a call is tried again: as long as another try can help, as late as the server asks, and jittered."""

import random
from collections.abc import Awaitable, Callable

import tenacity

from spot_core.inference.faults import Mends, TryError

FIRST_WAIT_SECONDS = 0.5
"""Before the first retry, at most; doubled for each further one."""
LONGEST_WAIT_SECONDS = 60.0
"""Before any retry, unless the server asks for more."""


def retrying(
    *,
    max_retries: int,
    max_wait_seconds: float,
    sleep: Callable[[float], Awaitable[None]],
    on_retry: Callable[[TryError], None],
) -> tenacity.AsyncRetrying:
    """Calls a coroutine function up to ``1 + max_retries`` times; what it raises last is raised.

    It can be shared by all calls: nothing in it but the sleep awaits anything, so that calls cannot meet inside of it.

    Args:
        max_retries: further tries after a fault that another try may mend.
        max_wait_seconds: a server that asks for a longer wait is not tried again.
        sleep: waits before a further try.
        on_retry: told of each fault that is followed by a further try.
    """
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, TryError) and error.mends is Mends.RETRY
        ),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(1 + max_retries),
            lambda state: (_fault(state).wait_seconds or 0.0) > max_wait_seconds,
        ),
        wait=_Wait(tenacity.wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)),
        sleep=sleep,
        before_sleep=lambda state: on_retry(_fault(state)),
        reraise=True,
    )


class _Wait(tenacity.wait.wait_base):
    """As long as the server asks for and a little more, so that not all come back at once; else the back-off."""

    def __init__(self, back_off: tenacity.wait.wait_base) -> None:
        self._back_off = back_off

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        asked = _fault(retry_state).wait_seconds
        return self._back_off(retry_state) if asked is None else asked + random.uniform(0, FIRST_WAIT_SECONDS)


def _fault(state: tenacity.RetryCallState) -> TryError:
    assert state.outcome is not None
    fault = state.outcome.exception()
    assert isinstance(fault, TryError)
    return fault
