"""An Oracle that is a model behind an OpenAI-compatible API: nothing is asked twice, nothing is spent over the budget."""

import asyncio
import hashlib
import json
from typing import Any

from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.errors import EngineError
from spot_core.oracles.base import ChatClient, Failure, Proposal, ReplyLog
from spot_core.oracles.budget import Budget
from spot_core.oracles.prompting import UnparseableReplyError, parse_reply, rectification_prompt

TOKENS_PER_PRICE = 1_000_000
OVERHEAD_TOKENS = 64  # of a chat template around one message, generously


class OpenAIOracle:
    """Asks `client` through `replies`, which keeps every raw reply under the hash of its request."""

    def __init__(self, config: OpenAIOracleConfig, *, client: ChatClient, replies: ReplyLog):
        self.name = config.model
        self.attempts = config.attempts
        self.budget = Budget(config.max_cost_usd)
        self._config = config
        self._client = client
        self._replies = replies
        self._in_flight: dict[str, asyncio.Task[dict[str, Any] | None]] = {}

    def request(self, failure: Failure, *, feedback: str | None = None) -> dict[str, Any]:
        """What is sent for a failure: the arguments of `ChatClient.chat`."""
        prompt = rectification_prompt(
            failure, with_gold_answer=self._config.with_gold_answer, feedback=feedback
        )
        return {
            "messages": [{"role": "user", "content": prompt}],
            "model": self._config.model,
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_output_tokens,
            "extra_body": self._config.extra_body,
        }

    async def propose(self, failure: Failure, *, feedback: str | None, attempt: int) -> Proposal:
        """One edit by the model; `not_asked` once the budget leaves no room for another call."""
        request = self.request(failure, feedback=feedback)
        try:
            reply = await self._reply(request, attempt)
        except EngineError as error:
            return Proposal(text=None, status="oracle_error", reason=str(error))
        if reply is None:
            limit = self.budget.limit_usd
            return Proposal(text=None, status="not_asked", reason=f"the budget of {limit} USD is used up")
        return self._read(reply)

    async def _reply(self, request: dict[str, Any], attempt: int) -> dict[str, Any] | None:
        """The raw reply to a request, from the log if it is there; None if the budget does not allow to ask."""
        request_hash = self._hash(request, attempt)
        reply = self._replies.get(request_hash)
        if reply is not None:
            return reply
        # Equal requests in flight share one call. The call outlives an asker that is cancelled: it is paid for.
        task = self._in_flight.get(request_hash)
        if task is None:
            task = asyncio.create_task(self._ask(request, request_hash))
            self._in_flight[request_hash] = task
            task.add_done_callback(lambda _: self._in_flight.pop(request_hash, None))
        return await asyncio.shield(task)

    async def _ask(self, request: dict[str, Any], request_hash: str) -> dict[str, Any] | None:
        worst = self._worst_cost(request)
        if not await self.budget.reserve(worst):
            return None
        spent = 0.0
        try:
            reply = await self._client.chat(**request)
            self._replies.put(request_hash, reply)
            usage = _usage(reply)
            spent = self._cost(*usage) if usage else worst
        finally:
            await self.budget.settle(worst, spent)
        return reply

    def _hash(self, request: dict[str, Any], attempt: int) -> str:
        identity = {**request, "base_url": self._config.base_url, "attempt": attempt}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def _read(self, reply: dict[str, Any]) -> Proposal:
        input_tokens, output_tokens = _usage(reply) or (0, 0)
        figures = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": self._cost(input_tokens, output_tokens),
        }
        choices = reply.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            return Proposal(text=None, status="unparseable", reason="the reply has no message", **figures)
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            reason = str(message.get("refusal") or "stopped by a content filter")
            return Proposal(text=None, status="refused", reason=reason, **figures)
        if choice.get("finish_reason") == "length":
            reason = f"the reply was cut at {self._config.max_output_tokens} tokens"
            return Proposal(text=None, status="unparseable", reason=reason, **figures)
        content = message.get("content")
        try:
            return Proposal(text=parse_reply(content if isinstance(content, str) else ""), **figures)
        except UnparseableReplyError as error:
            return Proposal(text=None, status="unparseable", reason=str(error), **figures)

    def _cost(self, input_tokens: int, output_tokens: int) -> float:
        usd = (
            input_tokens * self._config.input_usd_per_million
            + output_tokens * self._config.output_usd_per_million
        )
        return usd / TOKENS_PER_PRICE

    def _worst_cost(self, request: dict[str, Any]) -> float:
        """A token is at least one byte, so a prompt has at most as many tokens as bytes."""
        prompt_bytes = sum(len(message["content"].encode()) for message in request["messages"])
        return self._cost(prompt_bytes + OVERHEAD_TOKENS, request["max_tokens"])


def _usage(reply: dict[str, Any]) -> tuple[int, int] | None:
    """Prompt and completion tokens of a reply; None if it does not say.

    Some endpoints leave the tokens of hidden reasoning out of the completion but not out of the total.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = (
        usage.get(f"{name}_tokens") or 0 for name in ("prompt", "completion", "total")
    )
    if not all(isinstance(count, int) for count in (prompt, completion, total)):
        return None
    return prompt, max(completion, total - prompt)
