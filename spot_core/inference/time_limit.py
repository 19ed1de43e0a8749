"""A time limit that does not count the time in which this process was busy with something else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
