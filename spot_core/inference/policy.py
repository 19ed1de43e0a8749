"""Samples responses of the policy: starts the server when needed, restarts it when it dies."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.errors import DeclinedRequestError, EngineError, RefusedRequestError
from spot_core.inference.capacity import resolve_copies
from spot_core.inference.client import ModelClient
from spot_core.inference.keys import engine_key
from spot_core.inference.server import DEATH_SECONDS, SERVED_NAME, VllmServer
from spot_core.inference.servers import Servers

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.5
_MOST_FRUITLESS_STARTS = 2
_SHOWN_CHARACTERS = 200  # of an answer that cannot be used


@dataclass(frozen=True)
class Request:
    """One response to sample."""

    question_id: str
    sample: int
    prompt_token_ids: list[int]
    seed: int


@dataclass(frozen=True)
class Response:
    """One sampled response. ``token_ids`` ends with the end-of-turn token if the response stopped by itself."""

    text: str
    token_ids: list[int]
    finish_reason: str


def request_seed(run_seed: int, question_id: str, sample: int) -> int:
    """Seed of one request: a hash, so that no two requests of a run share their random numbers."""
    digest = hashlib.sha256(f"{run_seed}|{question_id}|{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


class Policy:
    """A model that answers. Its server starts at the first question and stops on leaving the context.

    Args:
        model_path: folder of the checkpoint.
        engine: which server, or how to start one.
        log_folder: where the server's logs go, one file per start.
    """

    def __init__(
        self, model_path: Path, engine: EngineConfig, *, log_folder: Path, trust_remote_code: bool = False
    ) -> None:
        self._model_path = model_path
        self._engine = resolve_copies(engine)
        self._api_key = engine_key(engine)
        self._log_folder = log_folder
        self._trust_remote_code = trust_remote_code
        self._server: VllmServer | None = None
        self.starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.process.stop()
            self._server = None

    def _start(self) -> None:
        self.starts += 1
        number = 0
        while (log_path := self._log_folder / f"vllm-{number:03d}.log").exists():
            number += 1
        log.info("starting vLLM for %s (log: %s)", self._model_path.name, log_path)
        server = VllmServer(
            self._model_path, self._engine, log_path=log_path, trust_remote_code=self._trust_remote_code
        )
        self._server = server.__enter__()

    def answer(
        self,
        requests: Iterable[Request],
        sampling: SamplingConfig,
        on_response: Callable[[Request, Response], None],
    ) -> None:
        """Samples a response for every request; ``on_response`` gets each as soon as it is there.

        A server that dies is restarted and only what is missing is asked again.

        Raises:
            ConfigError: the server does not start with these settings or this model.
            EngineError: two starts in a row without a finished row, or a request that the server refuses.
        """
        missing = {(r.question_id, r.sample): r for r in requests}
        fruitless = 0

        def finished(request: Request, response: Response) -> None:
            on_response(request, response)
            del missing[request.question_id, request.sample]

        while missing:
            before = len(missing)
            try:
                if self._engine.base_url is None and (self._server is None or self._server.died):
                    self._stop()
                    self._start()
                asyncio.run(self._ask(list(missing.values()), sampling, finished))
            except EngineError as error:
                if self._engine.base_url is not None or (self._server is not None and not self._server.died):
                    raise
                fruitless = 0 if len(missing) < before else fruitless + 1
                self._stop()
                if fruitless >= _MOST_FRUITLESS_STARTS:
                    raise EngineError(
                        f"{fruitless} starts in a row without a finished row; what was done before is kept. {error}"
                    ) from error
                log.warning("%d responses are missing; starting the server again. %s", len(missing), error)

    async def _ask(
        self, requests: list[Request], sampling: SamplingConfig, finished: Callable[[Request, Response], None]
    ) -> None:
        async with AsyncExitStack() as stack:
            servers = Servers(
                [await stack.enter_async_context(self._client(url)) for url in self._addresses()]
            )
            if self._server is not None:
                servers.serve(SERVED_NAME)
            else:
                await servers.ask_names()
            queue = deque(requests)

            async def ask_next(client: ModelClient) -> None:
                while queue and client in servers:
                    request = queue.popleft()
                    try:
                        response = await self._one(client, servers.name(client), request, sampling)
                    except EngineError as error:
                        servers.failed(client, error)  # raises unless others can answer
                        queue.append(request)
                        return
                    finished(request, response)

            tasks = [
                asyncio.ensure_future(ask_next(client))
                for _, client in zip(requests, servers.in_turn(self._connections), strict=False)
            ]
            watcher = asyncio.ensure_future(self._until_the_server_dies())
            try:
                waiting = {watcher, *tasks}
                while len(waiting) > 1:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    if watcher in done:
                        await watcher
                    for task in done:
                        await self._or_server_death(task, watcher)
            finally:
                for task in (watcher, *tasks):
                    task.cancel()
                await asyncio.gather(watcher, *tasks, return_exceptions=True)

    async def _or_server_death(self, task: "asyncio.Future[None]", watcher: "asyncio.Future[None]") -> None:
        """Awaits a finished task; if it failed because the server is going down, says that instead."""
        try:
            await task
        except (RefusedRequestError, DeclinedRequestError):
            raise  # who refuses lives
        except EngineError:
            if self._server is not None:
                await asyncio.wait({watcher}, timeout=DEATH_SECONDS)
            if watcher.done():
                await watcher
            raise

    async def _until_the_server_dies(self) -> None:
        while self._server is None or not self._server.died:
            await asyncio.sleep(_WATCH_SECONDS)
        raise self._server.failure("died while answering")

    @property
    def _connections(self) -> int:
        """Most requests in flight to one server: to all copies of the model that it has."""
        assert self._engine.data_parallel_size != "auto", "resolved at the start"
        return self._engine.concurrency * self._engine.data_parallel_size

    def _addresses(self) -> Sequence[str]:
        if self._engine.addresses:
            return self._engine.addresses
        assert self._server is not None
        return [self._server.base_url]

    @asynccontextmanager
    async def _client(self, base_url: str) -> AsyncIterator[ModelClient]:
        client = ModelClient(
            base_url=base_url,
            api_key=self._api_key,
            timeout_seconds=self._engine.request_timeout_seconds,
            max_retries=self._engine.max_retries,
            connections=self._connections,
        )
        try:
            yield client
        finally:
            await client.close()

    async def _one(
        self, client: ModelClient, model: str, request: Request, sampling: SamplingConfig
    ) -> Response:
        room = self._engine.max_model_len - len(request.prompt_token_ids)
        if room < 1:
            log.warning(
                "question %s: its prompt of %d tokens fills engine.max_model_len = %d; counted as truncated",
                request.question_id,
                len(request.prompt_token_ids),
                self._engine.max_model_len,
            )
            return Response("", [], "length")
        raw = await client.complete(
            prompt=request.prompt_token_ids,
            model=model,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=min(sampling.max_new_tokens, room),
            seed=request.seed,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            n=1,
            extra_body={
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "return_token_ids": True,
                "skip_special_tokens": True,
            },
        )
        return _response(raw)


def _response(raw: dict[str, Any]) -> Response:
    match raw:
        case {"choices": [{"text": str(text), "finish_reason": str(finish_reason), **choice}, *_]}:
            token_ids = choice.get("token_ids")
        case _:
            raise EngineError(f"the server's answer holds no completion: {str(raw)[:_SHOWN_CHARACTERS]}")
    if token_ids is None:
        raise EngineError(
            "the server returned no token ids: training needs them exactly as they were sampled; "
            "use a vLLM server that knows `return_token_ids`"
        )
    return Response(text, token_ids, finish_reason)
