"""Requests and tokens per minute, spread evenly: a provider's limit is often enforced over parts of the minute."""

import asyncio

from aiolimiter import AsyncLimiter

_MINUTE = 60.0  # seconds
_BURST = 1.0  # seconds of a token limit that may be used at once


class Pace:
    """Holds requests back so that neither limit is passed in any minute. None: no limit.

    Args:
        requests_per_minute: one request every ``60 / requests_per_minute`` seconds.
        tokens_per_minute: of prompt and answer together, by the caller's estimate.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = (
            None if requests_per_minute is None else AsyncLimiter(1, _MINUTE / requests_per_minute)
        )
        self._tokens = (
            None if tokens_per_minute is None else AsyncLimiter(tokens_per_minute * _BURST / _MINUTE, _BURST)
        )
        self._turn = asyncio.Lock()  # the limiter itself serves small amounts first, and large ones never

    async def wait(self, tokens: int) -> None:
        """Returns when a request of so many expected tokens may be sent."""
        if self._tokens is not None and tokens > 0:
            async with self._turn:
                left = float(tokens)
                while left > 0:
                    piece = min(left, self._tokens.max_rate)
                    await self._tokens.acquire(piece)
                    left -= piece
        if self._requests is not None:
            await self._requests.acquire()
