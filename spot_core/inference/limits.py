"""What bounds the calls to an endpoint: failures in a row, the rate, and the size and time of an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

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


_MINUTE = 60.0  # seconds
_SPREAD = 0.5  # of the time that a call takes
_FIRST_GAP = 0.001  # seconds between two requests as long as nobody knows how long a call takes
_MEMORY = 0.05  # weight of the latest call in the mean time of a call


class Pace:
    """Gives each request its place in time; they go in the order in which they came. None: no limit.

    A provider's limit is often enforced over parts of the minute, so it is spread evenly. Calls that leave together come
    back together, and then wait for each other in this process: so they are spread over half of the time that a call
    takes, which costs nothing, since in the long run so many calls leave in the whole of it.

    Args:
        requests_per_minute: the next request goes at least ``60 / requests_per_minute`` seconds later.
        tokens_per_minute: so does it after ``60 * tokens / tokens_per_minute`` seconds, whichever is later.
        connections: most requests in flight.
    """

    def __init__(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, *, connections: int
    ) -> None:
        self._per_request = _MINUTE / requests_per_minute if requests_per_minute else 0.0
        self._per_token = _MINUTE / tokens_per_minute if tokens_per_minute else 0.0
        self._connections = connections
        self._spread = _FIRST_GAP
        self._mean_seconds: float | None = None
        self._free_from = 0.0  # seconds of the event loop's clock

    async def wait(self, tokens: int) -> None:
        """Returns when a request of so many expected tokens, read and written, may be sent."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_from)
        self._free_from = start + max(self._spread, self._per_request, tokens * self._per_token)
        if start > now:
            await asyncio.sleep(start - now)

    def took(self, seconds: float) -> None:
        """Notes how long a call took that was answered."""
        known = seconds if self._mean_seconds is None else self._mean_seconds
        self._mean_seconds = known + _MEMORY * (seconds - known)
        self._spread = _SPREAD * self._mean_seconds / self._connections


_UNIT = 2**20


class AnswerTooLargeError(httpx2.DecodingError):
    """An answer is larger than the limit; it was not read to its end."""


class SizeLimit:
    """An event hook for responses of an ``httpx2.AsyncClient``: whoever reads the body meets the limit.

    It holds for every body (answers, errors, redirects, streams), whether the server names a length or not.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    async def __call__(self, response: httpx2.Response) -> None:
        """Puts the limited body in the place of the body."""
        body = response.stream
        assert isinstance(body, httpx2.AsyncByteStream)
        if "content-encoding" in response.headers:
            body = _Decompressed(response.headers.copy(), body)
            del response.headers["content-encoding"]
        response.stream = _Limited(body, self._most_bytes)


class _Decompressed(httpx2.AsyncByteStream):
    """A body as httpx decompresses it, a piece at a time."""

    def __init__(self, headers: httpx2.Headers, body: httpx2.AsyncByteStream) -> None:
        self._response = httpx2.Response(200, headers=headers, stream=body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_bytes()

    async def aclose(self) -> None:
        await self._response.aclose()


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._body = body
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for piece in self._body:
            seen += len(piece)
            if seen > self._most_bytes:
                raise AnswerTooLargeError(f"the answer is larger than {self._most_bytes / _UNIT:g} MiB")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


_LATE_SECONDS = 0.05


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when its block takes longer, as ``asyncio.timeout`` does, but never for a stall of our own.

    An event loop that was blocked, or a process that was stopped, finds all its time-outs due and all its answers there
    at once; ``asyncio.timeout`` would throw the answers away, which were paid for. Here, a limit that is noticed late
    is put off by as much as it was late.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        def due(when: float) -> None:
            nonlocal timer
            now = loop.time()
            if (late := now - when) > _LATE_SECONDS:
                timer = loop.call_at(now + late, due, now + late)
            else:
                limit.reschedule(now)

        timer = loop.call_at(loop.time() + seconds, due, loop.time() + seconds)
        try:
            yield
        finally:
            timer.cancel()
