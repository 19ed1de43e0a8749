"""An Oracle that is a language model: nothing is asked twice, nothing is spent over the budget."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

from spot_core.config.oracle import ModelOracleConfig, Price
from spot_core.errors import DeclinedRequestError, EngineError, OutageError, TooLongError
from spot_core.oracles.base import ChatClient, Failure, Proposal, ReplyLog
from spot_core.oracles.budget import Budget, Spending
from spot_core.oracles.prompting import Prompt
from spot_core.oracles.reading import read_reply, usage_of

log = logging.getLogger(__name__)

OVERHEAD_TOKENS = 64  # of a chat template around one message, generously
_ELSEWHERE_SECONDS = 0.5  # between two looks at a call that another process is making
BYTES_PER_TOKEN = 4  # of English text and mathematics under a large vocabulary


class ModelOracle:
    """Asks `client` through `replies`, which keeps every raw reply under the hash of its request.

    Args:
        name: how it is called in artifacts and reports.
        model: its name at the endpoint.
        identity: what else decides its replies: the endpoint's address, or the content of a local model.
        price: what its tokens cost; unset: not known, counted as nothing.
        budget: what it may spend; unset: as much as it takes.
    """

    def __init__(
        self,
        config: ModelOracleConfig,
        *,
        name: str,
        model: str,
        identity: str,
        client: ChatClient,
        replies: ReplyLog,
        price: Price | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.name = name
        self.attempts = config.attempts
        self.samples = config.samples
        self.prompt = Prompt.of(config)
        self.price = price
        self.budget = budget or Budget()
        self._config = config
        self._model = model
        self._identity = identity
        self._client = client
        self._replies = replies
        self._in_flight: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._places = asyncio.Semaphore(config.concurrency)

    def request(self, failure: Failure, *, earlier: Sequence[str] = ()) -> dict[str, Any]:
        """What is sent for a failure: the arguments of `ChatClient.chat`."""
        return {
            "messages": [{"role": "user", "content": self.prompt.render(failure, earlier=earlier)}],
            "model": self._model,
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_output_tokens,
            "extra_body": self._config.extra_body,
        }

    def hash(self, request: dict[str, Any], *, attempt: int = 1, sample: int = 0) -> str:
        """Under which the reply to a request is kept. Equal requests of other attempts or samples are others."""
        identity = {**request, "endpoint": self._identity, "attempt": attempt, "sample": sample}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """As many edits as `samples`; `not_asked` once the budget leaves no room for another call.

        Raises:
            OutageError: so many calls failed that asking on makes no sense.
        """
        request = self.request(failure, earlier=earlier)
        samples = (self._one(failure, request, attempt, sample) for sample in range(self.samples))
        return await asyncio.gather(*samples)

    def expected(self, failure: Failure) -> tuple[int, int]:
        """About how many tokens the first request for a failure reads and writes."""
        prompt = self.prompt.render(failure)
        written = self._config.expected_output_tokens or len(failure.response.encode()) // BYTES_PER_TOKEN
        return len(prompt.encode()) // BYTES_PER_TOKEN, written

    def known(self, failure: Failure) -> int:
        """How many of the first attempt's samples are in the log already."""
        request = self.request(failure)
        hashes = (self.hash(request, sample=sample) for sample in range(self.samples))
        return sum(request_hash in self._replies for request_hash in hashes)

    async def _one(self, failure: Failure, request: dict[str, Any], attempt: int, sample: int) -> Proposal:
        try:
            reply = await self._reply(failure, request, self.hash(request, attempt=attempt, sample=sample))
        except OutageError:
            raise
        except DeclinedRequestError as error:
            return Proposal(text=None, status="refused", reason=str(error), final=True)
        except TooLongError as error:
            return Proposal(text=None, status="too_long", reason=str(error))
        except EngineError as error:
            return Proposal(text=None, status="oracle_error", reason=str(error))
        if reply is None:
            reason = f"the budget of {self.budget.limits} leaves no room for another call"
            return Proposal(text=None, status="not_asked", reason=reason)
        return read_reply(reply, failure, price=self.price or Price(), boxed=self._config.boxed)

    async def _reply(
        self, failure: Failure, request: dict[str, Any], request_hash: str
    ) -> dict[str, Any] | None:
        """The raw reply to a request, from the log if it is there; None if the budget does not allow to ask."""
        reply = self._replies.get(request_hash)
        if reply is not None:
            return reply
        # Equal requests in flight share one call. The call outlives an asker that is cancelled: it is paid for.
        task = self._in_flight.get(request_hash)
        if task is None:
            task = asyncio.create_task(self._ask(failure, request, request_hash))
            self._in_flight[request_hash] = task
            task.add_done_callback(lambda _: self._in_flight.pop(request_hash, None))
        return await asyncio.shield(task)

    async def _ask(
        self, failure: Failure, request: dict[str, Any], request_hash: str
    ) -> dict[str, Any] | None:
        worst = self._worst(request)
        async with self._places:
            ticket = await self.budget.reserve(self._spending(*worst))
            if ticket is None:
                return None
            spent = Spending()
            try:
                while not self._replies.claim(request_hash, by=self.name, worst=worst):
                    if (reply := self._replies.get(request_hash)) is not None:
                        return reply  # another process has paid for it
                    await asyncio.sleep(_ELSEWHERE_SECONDS)
                reply = await self._call(request, request_hash, expected_tokens=sum(self.expected(failure)))
                spent = self._spending(*(usage_of(reply) or worst))
            finally:
                await self.budget.settle(ticket, spent)
        return reply

    async def _call(
        self, request: dict[str, Any], request_hash: str, *, expected_tokens: int
    ) -> dict[str, Any]:
        """Asks, and keeps the reply before anybody looks at it."""
        try:
            reply = await self._client.chat(
                **request, idempotency_key=request_hash, expected_tokens=expected_tokens
            )
        except EngineError:
            self._replies.failed(request_hash)
            raise
        self._replies.put(request_hash, reply)
        return reply

    def _worst(self, request: dict[str, Any]) -> tuple[int, int]:
        """Most tokens that a request can read and write. A token is at least one byte."""
        read = sum(len(message["content"].encode()) for message in request["messages"]) + OVERHEAD_TOKENS
        further = self._config.extra_body
        written = further.get("max_completion_tokens", further.get("max_tokens", request["max_tokens"]))
        return read, written if isinstance(written, int) else request["max_tokens"]

    async def finish(self, *, within_seconds: float) -> None:
        """Waits for calls in flight whose askers are gone: they are paid for, so their replies shall be kept."""
        if not self._in_flight:
            return
        log.info(
            "%s: waiting up to %g s for %d replies in flight", self.name, within_seconds, len(self._in_flight)
        )
        await asyncio.wait(list(self._in_flight.values()), timeout=within_seconds)

    def _spending(self, input_tokens: int, output_tokens: int) -> Spending:
        usd = self.price.of(input_tokens, output_tokens) if self.price else 0.0
        return Spending(usd, input_tokens + output_tokens)
