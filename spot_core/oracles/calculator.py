"""The calculator: an Oracle that recomputes written arithmetic, exactly and for nothing.

It finds the first wrong `a op b = c` step of a response, corrects it, carries the new value through the steps
that use it, and touches nothing else. It never sees the gold answer, and proposes nothing it would have to guess.
"""

from collections.abc import Sequence

from spot_core.oracles.arithmetic.carry import NothingWrongError, corrected
from spot_core.oracles.arithmetic.rewriting import CannotCarryError
from spot_core.oracles.base import Failure, Proposal


class CalculatorOracle:
    """Deterministic, so it is asked once."""

    name = "calculator"
    attempts = 1

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """The corrected response; `unchanged` if no step is wrong, `unparseable` if it cannot be repaired."""
        try:
            return [Proposal(text=corrected(failure.response, failure.question))]
        except NothingWrongError as reason:
            return [Proposal(text=None, status="unchanged", reason=str(reason))]
        except CannotCarryError as reason:
            return [Proposal(text=None, status="unparseable", reason=str(reason))]
