"""What becomes of one proposal: its answer checked, its edit measured on the policy's tokens, its status and reason."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spot_core.change_ratio import change_ratio, edit_regions, shared_prefix_length
from spot_core.config.flags import QualityFlag
from spot_core.inference.prompts import TurnEnd
from spot_core.oracles.base import Failure, Proposal
from spot_core.rectification.flags import AVOID, quality_flags
from spot_core.rectification.tokens import RectifiedTokens, rectified_token_ids, without_terminator

# (response, the failure it corrects) → verdict word; `correct` is the one that counts. May block: it is called in a thread.
Check = Callable[[str, Failure], str]

CORRECT = "correct"
RETOKENIZED = "retokenized"  # flag: no sampled ids could be kept although the texts begin alike
INEXACT_TOKENS = "inexact_tokens"  # flag: decoding the ids does not give the rectified text


@dataclass(frozen=True, slots=True)
class Judged:
    """A proposal with its status. Without an edit, or with one that is no edit, the measures are None."""

    proposal: Proposal
    status: str
    reason: str
    rectified: str | None = None
    rectified_token_ids: Sequence[int] | None = None
    flags: Sequence[str] = ()
    change_ratio: float | None = None
    shared_prefix_tokens: int | None = None
    edit_regions: int | None = None


def is_writable(text: str) -> bool:
    """False for a text with a lone surrogate, which JSON can hold and neither UTF-8 nor a tokenizer can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Judge:
    """Verifies and measures proposals.

    Attributes:
        tokenizer: the policy's own, a fast Hugging Face tokenizer.
        turn_end: how the policy ends its turns.
        check: verdict on an edited response.
        gamma: largest change ratio that is accepted.
        max_tokens: longest prompt plus y⁺, in tokens of the policy; None: no limit.
        exclude: quality flags with which an edit is not accepted.
    """

    tokenizer: Any
    turn_end: TurnEnd
    check: Check
    gamma: float
    max_tokens: int | None = None
    exclude: frozenset[QualityFlag] = frozenset()
    _tokenizing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    async def __call__(self, failure: Failure, proposal: Proposal) -> Judged:
        """The proposal with its status, reason and measures."""
        rectified = proposal.text
        if rectified is None:
            assert proposal.status is not None
            return Judged(proposal, proposal.status, proposal.reason)
        if not is_writable(rectified):
            return Judged(proposal, "unparseable", "the edited solution holds half of a character")
        if rectified == failure.response:
            return Judged(
                proposal, "unchanged", "the edited solution is the student's solution itself, unchanged"
            )
        # Both take their time with long texts, and the event loop has other calls to look after.
        verdict, measures = await asyncio.to_thread(self._examine, failure, rectified)
        status, reason = self._status(failure, verdict, measures)
        return Judged(proposal, status, reason, rectified=rectified, **measures)

    def _examine(self, failure: Failure, rectified: str) -> tuple[str, dict[str, Any]]:
        """The verdict on the edit, and its measures on token ids."""
        verdict = self.check(rectified, failure)
        with self._tokenizing:  # a fast tokenizer refuses to be used by two threads at once
            tokens, rejected = self._tokens(failure, rectified)
        chosen = tokens.ids[:-1]
        return verdict, {
            "rectified_token_ids": tokens.ids,
            "flags": (
                *[RETOKENIZED] * tokens.retokenized,
                *[INEXACT_TOKENS] * (not tokens.exact),
                *quality_flags(failure, rectified, rectified_tokens=len(chosen)),
            ),
            "change_ratio": change_ratio(rejected, chosen),
            "shared_prefix_tokens": shared_prefix_length(rejected, chosen),
            "edit_regions": len(edit_regions(rejected, chosen)),
        }

    def _status(self, failure: Failure, verdict: str, measures: dict[str, Any]) -> tuple[str, str]:
        ratio = measures["change_ratio"]
        length = len(failure.prompt_token_ids) + len(measures["rectified_token_ids"])
        if verdict != CORRECT:
            return "wrong_answer", f"the answer of the edited solution was judged {verdict}"
        if ratio > self.gamma:
            return "too_different", f"the edit changes {ratio:.3f} of the solution, more than {self.gamma:g}"
        if self.max_tokens is not None and length > self.max_tokens:
            return "too_long", f"prompt and edited solution have {length} tokens, more than {self.max_tokens}"
        if unwanted := [flag for flag in measures["flags"] if flag in self.exclude]:
            return "flagged", "; ".join(AVOID[flag] for flag in unwanted)
        return "accepted", ""

    def _tokens(self, failure: Failure, rectified: str) -> tuple[RectifiedTokens, list[int]]:
        """Ids of y⁺, and those of y⁻ that are measured: terminators take no part."""
        stopped = failure.finish_reason != "length"
        tokens = rectified_token_ids(
            self.tokenizer,
            response=failure.response,
            response_token_ids=failure.response_token_ids,
            rectified=rectified,
            turn_end=self.turn_end,
            stopped=stopped,
        )
        rejected = without_terminator(
            self.tokenizer, failure.response_token_ids, turn_end=self.turn_end, stopped=stopped
        )
        return tokens, rejected
