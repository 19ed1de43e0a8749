"""A model that is asked over HTTP: behind a vLLM server that this process keeps running, or behind servers that exist."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spot_core.config.engine import EngineConfig
from spot_core.config.model import ModelConfig
from spot_core.errors import (
    DeclinedRequestError,
    EngineError,
    OutageError,
    RefusedRequestError,
    SpotError,
    TooLongError,
)
from spot_core.inference.capacity import resolve_copies
from spot_core.inference.client import NO_KEY, ModelClient, key_of_environment
from spot_core.inference.limits import CircuitBreaker
from spot_core.inference.server import DEATH_SECONDS, SERVED_NAME, VllmServer
from spot_core.models import load_tokenizer

log = logging.getLogger(__name__)

Send = Callable[[ModelClient, str], Awaitable[dict[str, Any]]]
"""Sends one request through a client of an endpoint, given the name under which the model is served there."""

_POLL_SECONDS = 0.5
_MOST_FRUITLESS_STARTS = 2
_MOST_DEATHS = 3  # of the server during one request: the request may be what kills it
_OUTAGE_AFTER = 20  # calls in a row that failed for good although the server lives


@dataclass(eq=False)
class _Endpoint:
    """One server, with its client."""

    client: ModelClient
    name: str
    death: "asyncio.Task[None] | None" = None
    """Ends when the server has died; None for a server of somebody else."""
    in_flight: int = 0


class ServedModel:
    """Answers requests; all methods must be called in one event loop.

    Without `engine.base_url` a vLLM server is started at the first request, started again when it dies, and stopped by
    `close`. The servers of `engine.base_url` share the requests; one that fails is left out while others answer.

    Args:
        model_path: folder of the checkpoint.
        engine: which servers, or how to start one.
        log_folder: where the logs of started servers go, one file per start.
        trust_remote_code: run the model's own code.
        timeout_seconds: limit of one try of a request; unset: the engine's.
        connections: most requests in flight to each server; unset: the engine's, for each copy of the model.
        outage_after: calls in a row that may fail for good before no more are made; unset: any number.
    """

    def __init__(
        self,
        model_path: Path,
        engine: EngineConfig,
        *,
        log_folder: Path,
        trust_remote_code: bool = False,
        timeout_seconds: float | None = None,
        connections: int | None = None,
        outage_after: int | None = None,
    ) -> None:
        self._model_path = model_path
        self._engine = engine = resolve_copies(engine)
        self._log_folder = log_folder
        self._trust_remote_code = trust_remote_code
        self._api_key = _engine_key(engine)
        self._timeout_seconds = timeout_seconds or engine.request_timeout_seconds
        assert engine.data_parallel_size != "auto", "resolved above"
        self._connections = connections or engine.concurrency * engine.data_parallel_size
        self._outage_after = outage_after
        self._server: VllmServer | None = None
        self._endpoints: list[_Endpoint] = []
        self._clients: list[ModelClient] = []
        self._broken: SpotError | None = None
        self._last_death: EngineError | None = None
        self._fruitless_starts = 0
        self._starting = asyncio.Lock()
        self.starts = 0

    @property
    def connections(self) -> int:
        """Most requests in flight at once, to all servers together."""
        return self._connections * max(1, len(self._engine.addresses))

    async def ask(self, send: Send) -> dict[str, Any]:
        """Returns what ``send`` returns; a request whose server dies or is left out is sent again.

        Raises:
            ConfigError: the server does not start with these settings or this model.
            EngineError: no answer after the last retry, or the request is refused.
            OutageError: two starts in a row without an answer, or no server answers; raised by every later request too.
        """
        deaths = 0
        while True:
            endpoint = await self._ready()
            if deaths == _MOST_DEATHS:
                raise EngineError(
                    f"the server died {deaths} times while it answered this request. {self._last_death}"
                )
            try:
                answer = await _send_while_alive(endpoint, send)
            except (RefusedRequestError, DeclinedRequestError, TooLongError, OutageError):
                raise  # a server that refuses lives, and others would refuse too
            except EngineError as error:
                if endpoint.death is None:
                    self._leave_out(endpoint, error)
                    continue
                await asyncio.wait({endpoint.death}, timeout=DEATH_SECONDS)
                if not endpoint.death.done():
                    raise
                deaths += 1
            else:
                self._fruitless_starts = 0
                return answer

    async def close(self) -> None:
        """Stops the server and closes connections; calls in flight end with an OutageError."""
        self._broken = OutageError("the model is not asked any more: the stage has ended")
        async with self._starting:
            await self._stop()
            for client in self._clients:
                await client.close()
            self._clients.clear()

    async def _ready(self) -> _Endpoint:
        """Returns the server with the fewest requests in flight, after starting one if there is none."""
        async with self._starting:
            if self._broken is None and self._server is not None and self._server.died:
                self._last_death = self._server.failure("died while answering")
                await self._stop()
                log.warning("%s", self._last_death)
                self._give_up_after_fruitless_starts(self._last_death)
            if self._broken is None and not self._endpoints:
                try:
                    await (self._connect() if self._engine.addresses else self._start())
                except SpotError as error:
                    self._broken = error  # else every request would wait for another attempt
            if self._broken is not None:
                raise self._broken
            return min(self._endpoints, key=lambda endpoint: endpoint.in_flight)

    async def _start(self) -> None:
        """Starts a server of our own; once more if it ends for another reason than its settings."""
        while self._broken is None:
            self.starts += 1
            self._fruitless_starts += 1
            log_path = self._new_log()
            log.info("starting vLLM for %s (log: %s)", self._model_path.name, log_path)
            server = VllmServer(
                self._model_path, self._engine, log_path=log_path, trust_remote_code=self._trust_remote_code
            )
            try:
                await _enter(server)
            except EngineError as error:
                log.warning("%s", error)
                self._give_up_after_fruitless_starts(error)
                continue
            self._server = server
            death = asyncio.ensure_future(_wait_for_death(server))
            self._endpoints = [_Endpoint(self._open_client(server.base_url), SERVED_NAME, death)]
            return

    def _give_up_after_fruitless_starts(self, last: EngineError) -> None:
        if self._fruitless_starts >= _MOST_FRUITLESS_STARTS:
            starts = f"{self._fruitless_starts} starts in a row without an answer"
            self._broken = OutageError(f"{starts}; what was answered before is kept. {last}")

    def _new_log(self) -> Path:
        number = 0
        while (path := self._log_folder / f"vllm-{number:03d}.log").exists():
            number += 1
        return path

    async def _connect(self) -> None:
        """Asks each server of `engine.base_url` how it calls the model; those that do not answer are left out."""
        self._endpoints = [_Endpoint(self._open_client(url), "") for url in self._engine.addresses]
        for endpoint in list(self._endpoints):
            try:
                endpoint.name = await endpoint.client.served_model()
            except RefusedRequestError:
                raise
            except EngineError as error:
                if self._endpoints == [endpoint]:
                    raise OutageError(f"engine.base_url does not answer: {error}") from error
                self._leave_out(endpoint, error)

    def _leave_out(self, endpoint: _Endpoint, error: EngineError) -> None:
        """Sends no further request to a server.

        Raises:
            EngineError: ``error``, if it is the last server.
        """
        if endpoint not in self._endpoints:
            return  # another request has found out before
        if len(self._endpoints) == 1:
            raise error
        self._endpoints.remove(endpoint)
        log.warning("one of the servers is left out, %d others go on: %s", len(self._endpoints), error)

    def _open_client(self, base_url: str) -> ModelClient:
        client = ModelClient(
            base_url=base_url,
            api_key=self._api_key,
            timeout_seconds=self._timeout_seconds,
            max_retries=self._engine.max_retries,
            connections=self._connections,
            breaker=None if self._outage_after is None else CircuitBreaker(self._outage_after),
        )
        self._clients.append(client)
        return client

    async def _stop(self) -> None:
        for endpoint in self._endpoints:
            if endpoint.death is not None:
                endpoint.death.cancel()
        self._endpoints = []
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)


def _engine_key(engine: EngineConfig) -> str:
    """Returns the key that the servers of `engine.base_url` ask for.

    Raises:
        ConfigError: `engine.api_key_env` names a variable that is not set.
    """
    if engine.base_url is None or engine.api_key_env is None:
        return NO_KEY
    return key_of_environment(engine.api_key_env, setting="engine.api_key_env")


async def _send_while_alive(endpoint: _Endpoint, send: Send) -> dict[str, Any]:
    """Returns the answer to a request; gives it up at once when the server dies, whatever retries are left.

    Raises:
        EngineError: the server died, or the request failed.
    """
    endpoint.in_flight += 1
    call = asyncio.ensure_future(send(endpoint.client, endpoint.name))
    call.add_done_callback(
        lambda call: call.cancelled() or call.exception()
    )  # nobody may be left to hear of it
    try:
        awaited = {call} if endpoint.death is None else {call, endpoint.death}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise EngineError("the server died while answering")
        return call.result()
    finally:
        endpoint.in_flight -= 1
        if not call.done():
            call.cancel()
            await asyncio.wait({call})


async def _enter(server: VllmServer) -> None:
    """Waits until ``server`` answers; when cancelled, until it has ended."""
    entering = asyncio.ensure_future(asyncio.to_thread(server.__enter__))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        server.abandon_start()
        await asyncio.wait({entering})
        if not entering.exception():
            await asyncio.to_thread(server.stop)
        raise


async def _wait_for_death(server: VllmServer) -> None:
    while not server.died:
        await asyncio.sleep(_POLL_SECONDS)


class ServedChatModel:
    """A `ChatClient` of a model that vLLM serves: an Oracle of one's own.

    Args:
        model_path: folder of the checkpoint.
        model: its chat template's settings, and whether its code may run.
        engine, log_folder, timeout_seconds, connections: see `ServedModel`.
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
        self._tokenizer = load_tokenizer(model_path, trust_remote_code=model.trust_remote_code)
        self._template_kwargs = model.chat_template_kwargs
        self._max_model_len = engine.max_model_len
        self._model = ServedModel(
            model_path,
            engine,
            log_folder=log_folder,
            trust_remote_code=model.trust_remote_code,
            timeout_seconds=timeout_seconds,
            connections=connections,
            outage_after=_OUTAGE_AFTER,
        )

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
        """Returns the raw chat completion.

        Raises:
            TooLongError: the prompt leaves no room for a reply.
            ConfigError, EngineError, OutageError: see `ServedModel.ask`.
        """
        room = self._max_model_len - self._count_tokens(messages)
        if room < 1:
            raise TooLongError(f"the prompt fills engine.max_model_len = {self._max_model_len}")
        return await self._model.ask(
            lambda client, name: client.chat(
                messages,
                model=name,
                temperature=temperature,
                max_tokens=min(max_tokens, room),
                extra_body={"chat_template_kwargs": self._template_kwargs, **extra_body},
                idempotency_key=idempotency_key,
            )
        )

    async def close(self) -> None:
        """Stops the server and closes connections."""
        await self._model.close()

    def _count_tokens(self, messages: list[dict[str, Any]]) -> int:
        return len(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=False,
                **self._template_kwargs,
            )
        )
