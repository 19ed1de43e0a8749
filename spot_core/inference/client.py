"""One async OpenAI-compatible client for rollout, evaluation and Oracles."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from spot_core.errors import ConfigError, DeclinedRequestError, EngineError, RefusedRequestError
from spot_core.inference.limits import CircuitBreaker, Pace, SizeLimit, time_limit
from spot_core.inference.retries import Mends, TryError, error_answer, fault_of, no_object, retrying

# The library builds chunks without a look at them: what a server leaves out is missed only here and there.
_NO_CHUNK = (ValueError, TypeError, AttributeError, LookupError, AssertionError)


async def assembled(response: httpx2.Response, client: AsyncOpenAI) -> dict[str, Any]:
    """The chat completion of a response whose body was not read yet, with the usage that its last chunk tells.

    Raises:
        TryError: the stream ended early, or is no stream of chat completion chunks.
        openai.APIError: the connection broke, or the server sent an error.
    """
    state = ChatCompletionStreamState()
    usage: dict[str, Any] | None = None
    async with AsyncStream(cast_to=ChatCompletionChunk, response=response, client=client) as stream:
        try:
            async for chunk in stream:
                state.handle_chunk(chunk)
                if chunk.usage is not None:
                    usage = chunk.usage.model_dump(mode="json")
            completion = state.get_final_completion().model_dump(mode="json")
        except _NO_CHUNK as error:
            reason = f"the stream is no chat completion: {type(error).__name__}: {error}"
            raise TryError("broken stream", reason, Mends.RETRY) from None
    if any(choice["finish_reason"] is None for choice in completion["choices"]):
        raise TryError("broken stream", "the stream ended in the middle of an answer", Mends.RETRY)
    return completion | {"object": "chat.completion", "usage": usage}


OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no-key"
"""Sent to a server that asks for none."""
MOST_ANSWER_BYTES = 32 * 2**20
_CONNECT_SECONDS = 15.0  # a host that does not answer at all is known sooner than an answer takes
_LEAST_SECRET = (
    12  # characters: what is shorter ("none", "EMPTY") is a placeholder, and may be a word of an answer
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Send = Callable[[], Awaitable[dict[str, Any]]]


@dataclass
class Counts:
    """What the calls of a client took so far: requests sent, and those sent again, by the reason why."""

    tries: int = 0
    retries: Counter[str] = field(default_factory=Counter)


def key_of_environment(variable: str, *, setting: str, remedy: str = "") -> str:
    """The key in a variable of the environment.

    Raises:
        ConfigError: it is not set; the message names the setting that names it.
    """
    if not (key := os.environ.get(variable, "")):
        raise ConfigError(
            f"{setting} = {variable!r}: this environment variable is not set where the stage runs; export the API key "
            f"under this name before you start the worker{remedy}"
        )
    return key


class ModelClient:
    """Talks to one endpoint of one event loop; retries with jittered exponential back-off.

    A try is repeated after a connection error, a time-out, 408, 409, 429, 5xx, an answer that is no JSON object, is an
    error or is too large. A wait that the server asks for (``Retry-After``, ``retry-after-ms``) is kept to.

    Args:
        base_url: address of the API, or None for OpenAI's own.
        api_key: key, read from the environment or a secret by the caller; never logged or shown.
        timeout_seconds: limit of one try as a whole, from the connection to the last byte.
        max_retries: further tries of a call.
        connections: most requests in flight; further calls wait for their turn.
        requests_per_minute: limit of what is sent, retries included.
        tokens_per_minute: limit by the callers' estimates, retries included.
        stream: let the endpoint send chat completions in pieces; they are put together here.
        breaker: stops all calls when none succeeds any more; None: every call is made.
        max_wait_seconds: a server that asks for a longer wait makes the call fail.

    Raises:
        ConfigError: the key cannot be sent in a header, or the address is none.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        api_key: str,
        timeout_seconds: float,
        max_retries: int,
        connections: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        stream: bool = False,
        breaker: CircuitBreaker | None = None,
        max_wait_seconds: float = 600.0,
    ) -> None:
        _require_usable(base_url, api_key)
        self.counts = Counts()
        spellings = {api_key, json.dumps(api_key)[1:-1], quote(api_key, safe="")}
        self._key_spellings = sorted(spellings, key=len, reverse=True)
        self._timeout_seconds = timeout_seconds
        self._max_wait_seconds = max_wait_seconds
        self._slots = asyncio.Semaphore(connections)
        self._pace = Pace(requests_per_minute, tokens_per_minute, connections=connections)
        self._stream = stream
        self._breaker = breaker
        self._retrying = retrying(
            max_retries=max_retries,
            max_wait_seconds=max_wait_seconds,
            sleep=breaker.sleep if breaker is not None else asyncio.sleep,
            on_retry=lambda fault: self.counts.retries.update([fault.cause]),
        )
        self._client = openai.AsyncOpenAI(
            base_url=base_url or OPENAI_URL,  # and not what a variable of the environment says
            api_key=api_key,
            timeout=httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, timeout_seconds)),
            max_retries=0,
            # On aiohttp: httpx's own pool looks at every connection at every request, which at 200 connections takes
            # more time than all the rest.
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
                event_hooks={"response": [SizeLimit(MOST_ANSWER_BYTES)]},
                # A proxy from the environment cannot reach a server on this machine.
                trust_env=base_url is None or urlsplit(base_url).hostname not in _LOOPBACK,
            ),
        )
        if base_url is not None:  # the account at OpenAI is nobody else's business
            self._client.organization = self._client.project = None

    async def served_model(self) -> str:
        """Returns the name of the model that the endpoint serves, the first if there are several.

        Raises:
            EngineError: no answer after the last retry, or one that names no model.
        """
        page = await self._call(self._get_models, expected_tokens=0)
        match page:
            case {"data": [{"id": str(name)}, *_]}:
                return name
            case _:
                raise EngineError(f"{self._address} names no model under /models: does it serve one?")

    async def complete(self, *, prompt: list[int], model: str, **sampling: Any) -> dict[str, Any]:
        """Returns the raw completion of a prompt given as token ids.

        Raises:
            EngineError: no answer after the last retry.
            DeclinedRequestError: the endpoint refuses this request.
            RefusedRequestError: the endpoint refuses every request.
        """
        extra_body = sampling.pop("extra_body", {})
        body = {"model": model, "prompt": prompt, **sampling, **extra_body}
        return await self._call(self._post("/completions", body), expected_tokens=0)

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

        Args:
            messages: the conversation.
            model: as the endpoint calls it.
            temperature: None: not sent, for models that take none.
            max_tokens: most tokens of the answer; not sent if ``extra_body`` has ``max_completion_tokens``.
            extra_body: further fields of the request; they replace those above.
            idempotency_key: sent with every try of this call, so that an endpoint that knows it bills the call once.
            expected_tokens: of prompt and answer together, for the limit of tokens per minute.

        Raises:
            EngineError: no answer after the last retry.
            DeclinedRequestError: the endpoint refuses this request.
            RefusedRequestError: the endpoint refuses every request.
            OutageError: the breaker is open.
        """
        body: dict[str, Any] = {"model": model, "messages": messages}
        if temperature is not None:
            body["temperature"] = temperature
        if "max_completion_tokens" not in extra_body:
            body["max_tokens"] = max_tokens
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= extra_body
        send = self._post("/chat/completions", body, idempotency_key=idempotency_key, stream=self._stream)
        return await self._call(send, expected_tokens=expected_tokens)

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, send: Send, *, expected_tokens: int) -> dict[str, Any]:
        try:
            answer = await self._retrying(self._try, send, expected_tokens)
        except TryError as fault:
            failure = self._failure(fault)
        else:
            if self._breaker is not None:
                self._breaker.succeeded()
            return answer
        if self._breaker is not None:
            self._breaker.failed(failure)
        raise failure  # out here, so that no traceback shows the server's own words, which may hold the key

    async def _try(self, send: Send, expected_tokens: int) -> dict[str, Any]:
        async with self._slots:
            await self._pace.wait(expected_tokens)
            if self._breaker is not None:
                self._breaker.check()
            self.counts.tries += 1
            started = time.monotonic()
            try:
                # Of the whole try: a trickle of bytes trips no read time-out.
                async with time_limit(self._timeout_seconds):
                    answer = await send()
            except TimeoutError:
                fault = TryError(
                    "timeout", f"no whole answer within {self._timeout_seconds:g} s", Mends.RETRY
                )
            except (openai.APIError, httpx2.HTTPError, aiohttp.ClientError) as error:
                fault = fault_of(error)
            else:
                if answer.get("error") and not answer.get("choices"):
                    raise error_answer(answer)
                self._pace.took(time.monotonic() - started)
                return self._without_key(answer)
            raise fault

    async def _get_models(self) -> dict[str, Any]:
        return _object(await self._client.get("/models", cast_to=httpx2.Response))

    def _post(
        self, path: str, body: dict[str, Any], *, idempotency_key: str | None = None, stream: bool = False
    ) -> Send:
        # Escapes keep the lone surrogates that model output may hold; UTF-8 cannot.
        content = json.dumps(body, separators=(",", ":"), ensure_ascii=True).encode("ascii")
        options = {"headers": {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}}

        # The raw response: building the library's models and dumping them again takes longer than the rest of a call.
        async def send() -> dict[str, Any]:
            response = await self._client.post(
                path, cast_to=httpx2.Response, content=content, options=options, stream=stream
            )
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return await assembled(response, self._client)
            await response.aread()
            return _object(response)

        return send

    @property
    def _address(self) -> str:
        url = self._client.base_url
        return f"{url.scheme}://{url.netloc.decode()}{url.path}"  # without a query, which may hold secrets

    def _failure(self, fault: TryError) -> EngineError:
        text = f"{self._address}: {fault.told(self._hide)}"
        if fault.wait_seconds is not None and fault.wait_seconds > self._max_wait_seconds:
            text += (
                f"; it asks to wait {fault.wait_seconds:g} s, longer than max_wait_seconds = "
                f"{self._max_wait_seconds:g}"
            )
        kinds = {Mends.THE_USER: RefusedRequestError, Mends.ANOTHER_REQUEST: DeclinedRequestError}
        return kinds.get(fault.mends, EngineError)(text)

    def _without_key(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Some endpoints (proxies, echo servers) repeat the request's headers in what they answer, which is kept."""
        if len(self._key_spellings[-1]) < _LEAST_SECRET:
            return answer
        text = json.dumps(answer)
        shown = any(spelling in text for spelling in self._key_spellings)
        return _replaced(answer, self._hide) if shown else answer

    def _hide(self, text: str) -> str:
        """Some endpoints repeat the key that they refuse."""
        for spelling in self._key_spellings:
            text = text.replace(spelling, "…")
        return text


def _replaced(value: Any, hide: Callable[[str], str]) -> Any:
    """The value with every text in it, names too, as ``hide`` gives it back."""
    match value:
        case str():
            return hide(value)
        case dict():
            return {hide(name): _replaced(inner, hide) for name, inner in value.items()}
        case list():
            return [_replaced(inner, hide) for inner in value]
        case _:
            return value


def _require_usable(base_url: str | None, api_key: str) -> None:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigError(
            "the API key is empty, or holds a space, a line break or another character that no key has: look at the "
            "variable or secret that it comes from"
        )
    if base_url is None:
        return
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        raise ConfigError(f"base_url = {base_url!r} is no address ({error})") from error
    if url.userinfo:
        raise ConfigError(
            f"base_url: a user name or password does not belong into the address of {url.host}, which is stored with "
            "the settings; what the endpoint asks for goes into the API key"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"base_url = {base_url!r} must begin with http:// or https:// and a host")


def _object(response: httpx2.Response) -> dict[str, Any]:
    """The answer, if it is a JSON object.

    Raises:
        TryError: it is not.
    """
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise no_object(response.content)
    return answer
