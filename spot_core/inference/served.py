"""A chat model that is served by vLLM while it is needed: an Oracle of one's own."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from spot_core.config.engine import EngineConfig
from spot_core.config.model import ModelConfig
from spot_core.errors import (
    ConfigError,
    DeclinedRequestError,
    EngineError,
    OutageError,
    RefusedRequestError,
    TooLongError,
)
from spot_core.inference.breaker import CircuitBreaker
from spot_core.inference.capacity import resolve_copies
from spot_core.inference.client import ModelClient
from spot_core.inference.keys import engine_key
from spot_core.inference.server import DEATH_SECONDS, SERVED_NAME, VllmServer
from spot_core.models import load_tokenizer

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_MOST_FRUITLESS_STARTS = 2
_MOST_DEATHS = 3  # of the server under one request: it may be the one that kills it
_RETRIES = 1  # a server on this machine is up, or is started again
_OUTAGE_AFTER = 20  # calls in a row that failed for good although the server lives


class ServedModel:
    """A `ChatClient` whose server starts at the first question, is started again when it dies, and stops on `close`.

    Args:
        model_path: folder of the checkpoint.
        model: its chat template's settings, and whether its code may run.
        engine: how to start the server, or (`base_url`) which one answers already.
        log_folder: where the server's logs go, one file per start.
        timeout_seconds: limit of one request.
        connections: most requests in flight at once.
    """

    def __init__(
        self,
        model_path: Path,
        model: ModelConfig,
        engine: EngineConfig,
        *,
        log_folder: Path,
        timeout_seconds: float,
        connections: int,
    ) -> None:
        self._model_path = model_path
        self._model = model
        self._engine = resolve_copies(engine)
        self._api_key = engine_key(engine)
        self._log_folder = log_folder
        self._timeout_seconds = timeout_seconds
        self._connections = connections
        self._tokenizer = load_tokenizer(model_path, trust_remote_code=model.trust_remote_code)
        self._server: VllmServer | None = None
        self._client: ModelClient | None = None
        self._retired: list[ModelClient] = []
        self._served_name = SERVED_NAME
        self._fruitless_starts = 0
        self._outage: str | None = None
        self._starting = asyncio.Lock()

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
        """The raw chat completion; `model` is whatever the server serves.

        Raises:
            TooLongError: the prompt leaves no room for a reply.
            EngineError: no answer after the last retry.
            OutageError: the server does not start, answers nothing any more, or died twice in a row without an answer
                in between; with the end of its log.
        """
        room = self._engine.max_model_len - self._prompt_tokens(messages)
        if room < 1:
            raise TooLongError(f"the prompt fills engine.max_model_len = {self._engine.max_model_len}")
        for _ in range(_MOST_DEATHS):
            client = await self._ready()
            server = self._server
            try:
                reply = await client.chat(
                    messages,
                    model=self._served_name,
                    temperature=temperature,
                    max_tokens=min(max_tokens, room),
                    extra_body={"chat_template_kwargs": self._model.chat_template_kwargs, **extra_body},
                    idempotency_key=idempotency_key,
                )
            except (RefusedRequestError, DeclinedRequestError):
                raise  # who refuses lives
            except EngineError as error:
                if server is None or not await _died(server):
                    raise
                last = error
            else:
                self._fruitless_starts = 0
                return reply
        raise EngineError(f"the server died {_MOST_DEATHS} times while answering this request: {last}")

    async def close(self) -> None:
        """Closes connections and stops the server; calls in flight end with an OutageError."""
        self._outage = "the stage is over"
        async with self._starting:  # what is being started is stopped once it is up
            await self._stop()
            for client in self._retired:
                await client.close()

    def _prompt_tokens(self, messages: list[dict[str, Any]]) -> int:
        return len(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=False,
                **self._model.chat_template_kwargs,
            )
        )

    async def _ready(self) -> ModelClient:
        """A client of a server that answers; started now if there is none, or if it died."""
        async with self._starting:
            if self._client is not None and (self._server is None or not self._server.died):
                return self._client
            if self._server is not None:
                said = self._server.failure("died while answering")
                await self._stop()
                if self._fruitless_starts >= _MOST_FRUITLESS_STARTS:
                    self._outage = f"{self._fruitless_starts} starts in a row without an answer; what was answered is kept. {said}"
                else:
                    log.warning("starting the Oracle's server again. %s", said)
            if self._outage is not None:
                raise OutageError(self._outage)
            base_url = next(iter(self._engine.addresses), None)
            if base_url is None:
                self._fruitless_starts += 1
                try:
                    self._server = await asyncio.to_thread(self._start)
                except (ConfigError, EngineError) as error:
                    self._outage = str(error)  # else every row would wait for another start
                    raise OutageError(self._outage) from error
                base_url = self._server.base_url
            client = ModelClient(
                base_url=base_url,
                api_key=self._api_key,
                timeout_seconds=self._timeout_seconds,
                max_retries=_RETRIES,
                connections=self._connections,
                breaker=CircuitBreaker(_OUTAGE_AFTER),
            )
            if self._server is None:
                try:
                    self._served_name = await client.served_model()
                except EngineError as error:
                    # Else every row would wait for it.
                    self._outage = f"engine.base_url does not answer: {error}"
                    await client.close()
                    raise OutageError(self._outage) from error
            self._client = client
            return client

    def _start(self) -> VllmServer:
        number = 0
        while (log_path := self._log_folder / f"vllm-{number:03d}.log").exists():
            number += 1
        log.info("starting vLLM for the Oracle %s (log: %s)", self._model_path.name, log_path)
        server = VllmServer(
            self._model_path,
            self._engine,
            log_path=log_path,
            trust_remote_code=self._model.trust_remote_code,
        )
        return server.__enter__()

    async def _stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._retired.append(client)  # others may be about to ask through it: they find the server gone
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.process.stop)


async def _died(server: VllmServer) -> bool:
    """Whether the server is gone, or goes within a moment."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DEATH_SECONDS):
            while not server.died:
                await asyncio.sleep(_POLL_SECONDS)
    return server.died
