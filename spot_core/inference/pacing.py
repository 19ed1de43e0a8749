"""When a request may leave: limits of requests and tokens per minute, and never all requests at once.

A provider's limit is often enforced over parts of the minute, so it is spread evenly. Calls that leave together come
back together, and then wait for each other in this process: so they are spread over half of the time that a call takes,
which costs nothing, since in the long run so many calls leave in the whole of it.
"""

import asyncio

_MINUTE = 60.0  # seconds
_SPREAD = 0.5  # of the time that a call takes
_FIRST_GAP = 0.001  # seconds between two requests as long as nobody knows how long a call takes
_MEMORY = 0.05  # weight of the latest call in the mean time of a call


class Pace:
    """Gives each request its place in time; they go in the order in which they came. None: no limit.

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
