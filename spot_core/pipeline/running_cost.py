"""What a stage that asks Oracles has spent, while it does."""

from collections.abc import Mapping, Sequence
from typing import Any

from spot_core.oracles.base import Oracle
from spot_core.oracles.model import ModelOracle

_ROWS_THAT_TELL = 20  # before that, what all will cost is anybody's guess


class RunningCost:
    """What was spent so far, and about how much it will be in the end.

    Args:
        oracles: those that are models have budgets, in which what earlier attempts spent is counted.
        rows: how many this attempt has to do.
    """

    def __init__(self, oracles: Sequence[Oracle], *, rows: int) -> None:
        self._budgets = [oracle.budget for oracle in oracles if isinstance(oracle, ModelOracle)]
        self._before = self._spent_usd()
        self._rows = rows
        self._done = self._pairs = self._waiting = 0

    def _spent_usd(self) -> float:
        return sum(budget.spent.usd for budget in self._budgets)

    def after(self, row: Mapping[str, Any]) -> str:
        """In words, once this row is done too."""
        self._done += 1
        self._pairs += row["status"] == "accepted"
        self._waiting += row["status"] == "pending"
        text = f"{self._pairs:,} pairs"
        if self._waiting:
            text += f", {self._waiting:,} wait for a person"
        if spent := self._spent_usd():
            text += f", ${spent:,.2f} spent"
            if self._done >= _ROWS_THAT_TELL:
                total = self._before + (spent - self._before) * self._rows / self._done
                text += f", about ${total:,.2f} in all"
        return text
