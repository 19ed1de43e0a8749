"""A spending limit that holds under concurrency: what a call may cost at most is set aside before it is made."""

import asyncio


class Budget:
    """USD spent and set aside. `limit_usd` None: no limit."""

    def __init__(self, limit_usd: float | None):
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self._reserved_usd = 0.0
        self._calls_in_flight = 0
        self._settled = asyncio.Condition()

    async def reserve(self, worst_usd: float) -> bool:
        """Set the worst cost of one call aside; False if the limit leaves no room for it.

        While calls in flight may turn out cheaper than what was set aside for them, this waits for them.
        """
        if self.limit_usd is None:
            return True
        async with self._settled:
            while self.spent_usd + self._reserved_usd + worst_usd > self.limit_usd:
                if self._calls_in_flight == 0:
                    return False
                await self._settled.wait()
            self._reserved_usd += worst_usd
            self._calls_in_flight += 1
            return True

    async def settle(self, worst_usd: float, actual_usd: float) -> None:
        """Replace what was set aside for a call by what it cost."""
        self.spent_usd += actual_usd
        if self.limit_usd is None:
            return
        async with self._settled:
            self._calls_in_flight -= 1
            # Sums of floats do not come back to zero by themselves.
            self._reserved_usd = self._reserved_usd - worst_usd if self._calls_in_flight else 0.0
            self._settled.notify_all()
