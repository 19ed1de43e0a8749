"""A person as an Oracle: the edits come back from a review page, and are verified like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spot_core.oracles.base import Failure, Proposal

Key = tuple[str, int]  # question_id, sample

SKIPPED = "skipped by the reviewer"


@dataclass(frozen=True)
class Edits:
    """What a person has decided so far: edited solutions, and failures for which there shall be none."""

    texts: Mapping[Key, str] = field(default_factory=dict)
    skipped: frozenset[Key] = frozenset()

    def __contains__(self, key: Key) -> bool:
        return key in self.texts or key in self.skipped


@dataclass(frozen=True)
class HumanOracle:
    """Proposes the edits that a person has made so far; whatever has none, or was not accepted, is `pending`."""

    edits: Edits

    name = "human"
    attempts = 2  # the second only says that the edit goes back to the person

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """The person's edit; `pending` where there is none, or where it was not accepted."""
        key = failure.question_id, failure.sample
        if key in self.edits.skipped:
            return [Proposal(text=None, status="refused", reason=SKIPPED, final=True)]
        if earlier:
            return [Proposal(text=None, status="pending", reason=earlier[-1])]
        if (edit := self.edits.texts.get(key)) is None:
            return [Proposal(text=None, status="pending", reason="waits for a person")]
        return [Proposal(text=edit)]
