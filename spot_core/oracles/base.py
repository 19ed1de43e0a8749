"""What every Oracle is given, what it gives back, and how one is made from the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from spot_core.config.oracle import CalculatorOracleConfig, OpenAIOracleConfig

ProposalStatus = Literal["refused", "unparseable", "oracle_error", "unchanged", "not_asked"]


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
    """One attempt of an Oracle: a text to be verified, or None with a status and the reason.

    `cost_usd` is what this attempt cost, at the prices of the configuration.
    """

    text: str | None
    status: ProposalStatus | None = None
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __post_init__(self) -> None:
        assert (self.text is None) == (self.status is not None), (
            "a proposal is a text, or says why there is none"
        )


class Oracle(Protocol):
    """Who proposes a minimal edit of a failed response. `attempts` is how often it may be asked for one failure."""

    name: str
    attempts: int

    async def propose(self, failure: Failure, *, feedback: str | None, attempt: int) -> Proposal:
        """Attempt number `attempt` (from 1); `feedback` says why the attempt before was not accepted."""
        ...


class ChatClient(Protocol):
    """An OpenAI-compatible endpoint; concurrency limits, time limits and retries are its business."""

    async def chat(
        self,
        messages: list[dict[str, Any]],
        *,
        model: str,
        temperature: float,
        max_tokens: int,
        extra_body: dict[str, Any],
    ) -> dict[str, Any]:
        """The raw chat.completion. Raises `spot_core.errors.EngineError` after the last retry."""
        ...


class ReplyLog(Protocol):
    """Durable memory of raw replies by the hash of their request."""

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply to this request, if there was one."""
        ...

    def put(self, request_hash: str, reply: dict[str, Any]) -> None:
        """Keep a reply; it is durable when this returns."""
        ...


@dataclass
class RepliesInMemory:
    """A ReplyLog for a notebook: it forgets when the process ends."""

    replies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply to this request, if there was one."""
        return self.replies.get(request_hash)

    def put(self, request_hash: str, reply: dict[str, Any]) -> None:
        """Keep a reply."""
        self.replies[request_hash] = reply


def make_oracle(
    config: CalculatorOracleConfig | OpenAIOracleConfig,
    *,
    client: ChatClient | None = None,
    replies: ReplyLog | None = None,
) -> Oracle:
    """The Oracle that a configuration describes; one that asks a model needs `client` and `replies`."""
    if isinstance(config, CalculatorOracleConfig):
        from spot_core.oracles.calculator import CalculatorOracle  # noqa: PLC0415 - SymPy takes half a second

        return CalculatorOracle()
    from spot_core.oracles.openai import OpenAIOracle  # noqa: PLC0415

    assert client is not None and replies is not None, (
        "an Oracle that asks a model needs a client and a reply log"
    )
    return OpenAIOracle(config, client=client, replies=replies)
