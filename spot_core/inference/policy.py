"""Samples responses of the policy."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.errors import EngineError
from spot_core.inference.served import ServedModel

log = logging.getLogger(__name__)

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
    """A model that answers prompts. Its server starts at the first request and stops on leaving the context.

    Args:
        model_path: folder of the checkpoint.
        engine: which server, or how to start one.
        log_folder: where the server's logs go, one file per start.
    """

    def __init__(
        self, model_path: Path, engine: EngineConfig, *, log_folder: Path, trust_remote_code: bool = False
    ) -> None:
        self._max_model_len = engine.max_model_len
        self._model = ServedModel(
            model_path, engine, log_folder=log_folder, trust_remote_code=trust_remote_code
        )
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._end())

    async def _end(self) -> None:
        """Ends the server, and what an exception from a signal's handler has left behind, such as a server that starts."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._model.close()

    @property
    def starts(self) -> int:
        """How often a server was started."""
        return self._model.starts

    def answer(
        self,
        requests: Iterable[Request],
        sampling: SamplingConfig,
        on_response: Callable[[Request, Response], None],
    ) -> None:
        """Samples a response for every request; ``on_response`` gets each when it becomes available.

        A server that dies is started again, and only what is missing is asked again.

        Raises:
            ConfigError: the server does not start with these settings or this model.
            EngineError: two starts in a row without a finished row, or a request that the server refuses.
        """
        self._runner.run(self._answer_all(iter(requests), sampling, on_response))

    async def _answer_all(
        self,
        requests: Iterator[Request],
        sampling: SamplingConfig,
        on_response: Callable[[Request, Response], None],
    ) -> None:
        async def answer_next() -> None:
            for request in requests:
                on_response(request, await self._answer(request, sampling))

        workers = [asyncio.ensure_future(answer_next()) for _ in range(self._model.connections)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _answer(self, request: Request, sampling: SamplingConfig) -> Response:
        prompt = request.prompt_token_ids
        room = self._max_model_len - len(prompt)
        if room < 1:
            log.warning(
                "question %s: its prompt of %d tokens fills engine.max_model_len = %d; counted as truncated",
                request.question_id,
                len(prompt),
                self._max_model_len,
            )
            return Response("", [], "length")
        raw = await self._model.ask(
            lambda client, name: client.complete(
                prompt=prompt,
                model=name,
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
