"""What a stage that asks Oracles has spent, while it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spot_core.oracles.base import Oracle
from spot_core.oracles.model import ModelOracle

_ROWS_THAT_TELL = 20  # before that, what all will cost is anybody's guess


def spent_usd(oracles: Sequence[Oracle]) -> float:
    """What the budgets of those Oracles say that are models; earlier attempts are counted in them."""
    return sum(oracle.budget.spent.usd for oracle in oracles if isinstance(oracle, ModelOracle))


class RunningCost:
    """What was spent so far, and about how much it will be in the end.

    Args:
        before: USD that were spent by earlier attempts.
        rows: how many this attempt has to do.
        spent: USD that are spent by now; unset: ``before`` and what the rows say that they took.
    """

    def __init__(self, before: float, *, rows: int, spent: Callable[[], float] | None = None) -> None:
        self._before = before
        self._rows = rows
        self._spent = spent or (lambda: before + self._of_rows)
        self._of_rows = 0.0
        self._done = self._pairs = self._waiting = 0

    def after(self, row: Mapping[str, Any]) -> str:
        """In words, once this row is done too."""
        self._done += 1
        self._of_rows += row["cost_usd"]
        self._pairs += row["status"] == "accepted"
        self._waiting += row["status"] == "pending"
        text = f"{self._pairs:,} pairs"
        if self._waiting:
            text += f", {self._waiting:,} wait for a person"
        if spent := self._spent():
            text += f", ${spent:,.2f} spent"
            if self._done >= _ROWS_THAT_TELL:
                total = self._before + (spent - self._before) * self._rows / self._done
                text += f", about ${total:,.2f} in all"
        return text
