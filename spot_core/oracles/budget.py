"""Spending limits that hold under concurrency: what a call may take at most is set aside before it is made."""

import asyncio
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spending:
    """Money and tokens, read and written, of one call or of many."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Self) -> "Spending":
        return Spending(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Self) -> "Spending":
        return Spending(self.usd - other.usd, self.tokens - other.tokens)


class Budget:
    """What was spent and what is set aside for calls in flight. A limit of None is no limit.

    `spent`: what calls before this one's time took, e.g. those of an attempt that was killed.
    """

    def __init__(
        self,
        *,
        limit_usd: float | None = None,
        limit_tokens: int | None = None,
        spent: Spending | None = None,
    ) -> None:
        self.limit_usd = limit_usd
        self.limit_tokens = limit_tokens
        self.spent = spent or Spending()
        self._in_flight: dict[int, Spending] = {}
        self._reserved = Spending()
        self._calls = 0
        self._settled = asyncio.Condition()

    @property
    def limits(self) -> str:
        """The limits in words, for a message."""
        usd = [f"{self.limit_usd:g} USD"] if self.limit_usd is not None else []
        tokens = [f"{self.limit_tokens:,} tokens"] if self.limit_tokens is not None else []
        return " and ".join(usd + tokens)

    async def reserve(self, worst: Spending) -> int | None:
        """Sets the worst of one call aside and returns a ticket to settle it with; None if a limit leaves no room.

        While calls in flight may turn out cheaper than what was set aside for them, this waits for them.
        """
        async with self._settled:
            while not self._has_room(worst):
                if not self._in_flight:
                    return None
                await self._settled.wait()
            self._calls += 1
            self._in_flight[self._calls] = worst
            self._reserved += worst
            return self._calls

    async def settle(self, ticket: int, actual: Spending) -> None:
        """Replaces what was set aside for a call by what it took."""
        async with self._settled:
            worst = self._in_flight.pop(ticket)
            # Sums of floats do not come back to zero by themselves.
            self._reserved = self._reserved - worst if self._in_flight else Spending()
            self.spent += actual
            self._settled.notify_all()

    def _has_room(self, worst: Spending) -> bool:
        if self.limit_usd is None and self.limit_tokens is None:
            return True
        total = self.spent + self._reserved + worst
        return (self.limit_usd is None or total.usd <= self.limit_usd) and (
            self.limit_tokens is None or total.tokens <= self.limit_tokens
        )
