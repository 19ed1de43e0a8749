"""Stops asking an endpoint that answers nothing any more, before every row has paid for finding out."""

import asyncio

from spot_core.errors import DeclinedRequestError, EngineError, OutageError, RefusedRequestError


class CircuitBreaker:
    """Counts calls that failed for good; opens after ``failures_in_a_row`` of them, and stays open.

    A call that was refused for a reason that holds for every call (`RefusedRequestError`) opens it at once.
    """

    def __init__(self, failures_in_a_row: int) -> None:
        assert failures_in_a_row > 0
        self._most = failures_in_a_row
        self._failed = 0
        self._answered = 0
        self._last: EngineError | None = None
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def check(self) -> None:
        """Lets a call go on.

        Raises:
            OutageError: the breaker is open.
        """
        if self.is_open:
            raise self._outage()

    def succeeded(self) -> None:
        """Notes a call that was answered."""
        self._answered += 1
        self._failed = 0

    def failed(self, error: EngineError) -> None:
        """Notes a call that failed for good, after its last retry."""
        if self.is_open:
            return  # one that was in flight; the reason is known
        if isinstance(error, DeclinedRequestError) and self._answered:
            return  # the endpoint works; this request is none for it
        self._failed += 1
        self._last = error
        if self._failed >= self._most or isinstance(error, RefusedRequestError):
            self._opened.set()

    async def sleep(self, seconds: float) -> None:
        """Waits before a retry, but no longer than until the breaker opens.

        Raises:
            OutageError: it did.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return
        raise self._outage()

    def _outage(self) -> OutageError:
        assert self._last is not None
        if isinstance(self._last, RefusedRequestError):
            return OutageError(f"no further call is made, because none can succeed: {self._last}")
        calls = "1 call has" if self._failed == 1 else f"{self._failed} calls in a row have"
        return OutageError(
            f"no further call is made: {calls} failed for good ({self._answered} were answered before). The last: "
            f"{self._last}. See whether the endpoint is up and takes such requests, then start again"
        )
