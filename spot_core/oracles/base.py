"""What every Oracle is given and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

ProposalStatus = Literal[
    "refused", "unparseable", "too_long", "oracle_error", "unchanged", "not_asked", "pending"
]


@dataclass(frozen=True, slots=True)
class Failure:
    """A response of the policy that was judged wrong. `answer` is the gold answer, ids are the policy's own."""

    question_id: str
    sample: int
    question: str
    answer: str
    response: str
    response_token_ids: Sequence[int]
    prompt_token_ids: Sequence[int]
    finish_reason: str
    checker: str | None = None
    """How the answer is checked, where the row says so itself."""
    metadata: str | None = None
    """JSON for that checker."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit of an Oracle: a text to be verified, or None with a status and the reason.

    `cost_usd` is what it cost, at the prices of the configuration. `final`: the same Oracle is not asked again.
    """

    text: str | None
    status: ProposalStatus | None = None
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    final: bool = False

    def __post_init__(self) -> None:
        assert (self.text is None) == (self.status is not None), (
            "a proposal is a text, or says why there is none"
        )


class Oracle(Protocol):
    """Who proposes a minimal edit of a failed response. `attempts` is how often it may be asked for one failure."""

    name: str
    attempts: int

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> Sequence[Proposal]:
        """The edits of attempt number `attempt` (from 1), at least one.

        `earlier` says why the edits of the attempts before were not accepted, in their order.
        """
        ...


class ChatClient(Protocol):
    """An OpenAI-compatible endpoint; rate limits, time limits and retries are its business."""

    async def chat(
        self,
        messages: list[dict[str, Any]],
        *,
        model: str,
        temperature: float | None,
        max_tokens: int,
        extra_body: dict[str, Any],
        idempotency_key: str | None = None,
        expected_tokens: int = 0,
    ) -> dict[str, Any]:
        """The raw chat.completion. `expected_tokens`, read and written, count against a limit of tokens a minute.

        Raises:
            EngineError: no answer after the last retry.
            OutageError: so many calls failed that asking on makes no sense.
        """
        ...


class ReplyLog(Protocol):
    """Durable memory of raw replies by the hash of their request."""

    def __contains__(self, request_hash: str) -> bool:
        """Whether there was a reply to this request."""
        ...

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply to this request, if there was one."""
        ...

    def claim(self, request_hash: str, *, by: str, worst: tuple[int, int]) -> bool:
        """Note that an Oracle is about to make a call, so that one which is lost with the process is known of.

        `worst`: most tokens that it can read and write.

        False if the call is not to be made: there is a reply meanwhile, or another process is making it.
        """
        ...

    def put(self, request_hash: str, reply: dict[str, Any]) -> None:
        """Keep the reply to a call that was claimed; it outlives the process when this returns."""
        ...

    def failed(self, request_hash: str) -> None:
        """Note that the call ended without a reply."""
        ...
