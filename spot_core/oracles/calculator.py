"""The calculator: an Oracle that recomputes written arithmetic, exactly and for nothing.

It finds the steps of a response that do not hold (decimals, fractions, percent, chains, annotations, results said in
words), corrects them, carries the new values through what follows from them, and touches nothing else. It never
sees the gold answer, and proposes nothing it would have to guess: what may be meant in another way is left alone,
and so is a response where it cannot tell which number follows which result.
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
