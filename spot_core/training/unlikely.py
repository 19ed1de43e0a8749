"""Tokens of y⁺ that π_ref finds far less likely than the rest, pair after pair: no edit, but a wrong end of the turn or
pieces of a template. The change ratio does not show them, and training would teach them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from torch import Tensor

from spot_core.training.pairs import Pair
from spot_core.training.rows import RowBatch

GAP = 10.0
"""Nats below the median of the tokens of its response: one in 22,000 of what they are."""
_SHARE = 0.5
"""Of the responses that have the token: an edit is unlikely in one place, such a token wherever it stands."""
_FEWEST = 3
"""Responses: one or two may be chance."""


@dataclass
class UnlikelyTokens:
    """What is known of the pairs that were added: in how many y⁺ each token stands, and where it is unlikely."""

    standing: Counter[int] = field(default_factory=Counter)
    found: dict[int, list[tuple[float, str, int]]] = field(default_factory=dict)
    """By token id: log-prob, question_id and sample, once a response."""

    def add(self, batch: RowBatch, by_token: Tensor, members: Sequence[Pair]) -> None:
        """Looks at the responses y⁺ of a micro-batch.

        Args:
            by_token: (edges,) log-prob of each token that is predicted.
            members: the batch's pairs, in order.
        """
        values = by_token[batch.path_edge].cpu()
        lengths = batch.path_sequence.bincount(minlength=batch.sequences).tolist()
        for pair, of_response in zip(members, values.split(lengths)[::2], strict=True):
            logprobs = of_response.tolist()
            limit = median(logprobs) - GAP
            worst: dict[int, float] = {}
            for token, logprob in zip(pair.chosen.tolist(), logprobs, strict=True):
                worst[token] = min(logprob, worst.get(token, 0.0))
            self.standing.update(worst.keys())
            for token, logprob in worst.items():
                if logprob < limit:
                    self.found.setdefault(token, []).append((logprob, pair.question_id, pair.sample))

    def merge(self, others: Sequence["UnlikelyTokens"]) -> None:
        """Adds what other ranks know."""
        for other in others:
            self.standing.update(other.standing)
            for token, places in other.found.items():
                self.found.setdefault(token, []).extend(places)

    def report(self) -> list[dict[str, Any]]:
        """Returns the tokens to be looked at: `token_id`, `pairs` (in which it is unlikely), `standing` (in which it
        stands), `median_logprob` and an example's `question_id` and `sample`; the most frequent first."""
        rows = []
        for token, places in sorted(self.found.items(), key=lambda item: (-len(item[1]), item[0])):
            if len(places) >= max(_FEWEST, _SHARE * self.standing[token]):
                _, question_id, sample = min(places)
                rows.append(
                    {
                        "token_id": token,
                        "pairs": len(places),
                        "standing": self.standing[token],
                        "median_logprob": median(logprob for logprob, _, _ in places),
                        "question_id": question_id,
                        "sample": sample,
                    }
                )
        return rows
