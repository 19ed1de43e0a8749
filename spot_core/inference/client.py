"""One async OpenAI-compatible client for rollout, evaluation and Oracles."""

from typing import Any

import httpx2
import openai

from spot_core.errors import EngineError


class ModelClient:
    """Talks to one endpoint; retries with jittered exponential back-off and honours ``Retry-After``.

    Args:
        base_url: address of the API, or None for OpenAI's own.
        api_key: key, read from the environment or a secret by the caller; never logged.
        timeout_seconds: limit of one try.
        max_retries: further tries after a connection error, time-out, 408, 409, 429 or 5xx answer.
        connections: most connections open at once.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        api_key: str,
        timeout_seconds: float,
        max_retries: int,
        connections: int,
    ) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=timeout_seconds,
            max_retries=max_retries,
            http_client=openai.DefaultAsyncHttpxClient(
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
            ),
        )

    async def complete(self, *, prompt: list[int], model: str, **sampling: Any) -> dict[str, Any]:
        """Returns the raw completion of a prompt given as token ids.

        Raises:
            EngineError: no answer after the last retry, or the request was refused.
        """
        try:
            answer = await self._client.completions.create(model=model, prompt=prompt, **sampling)
        except openai.APIError as error:
            raise _engine_error(error) from error
        return answer.model_dump(mode="json")

    async def chat(
        self,
        messages: list[dict[str, str]],
        *,
        model: str,
        temperature: float,
        max_tokens: int,
        extra_body: dict[str, Any],
    ) -> dict[str, Any]:
        """Returns the raw chat completion.

        Raises:
            EngineError: no answer after the last retry, or the request was refused.
        """
        try:
            answer = await self._client.chat.completions.create(
                model=model,
                messages=messages,  # type: ignore[arg-type]
                temperature=temperature,
                max_tokens=max_tokens,
                extra_body=extra_body,
            )
        except openai.APIError as error:
            raise _engine_error(error) from error
        return answer.model_dump(mode="json")

    async def close(self) -> None:
        await self._client.close()


def _engine_error(error: openai.APIError) -> EngineError:
    detail = getattr(error, "body", None) or str(error.__cause__ or error)
    return EngineError(f"{type(error).__name__}: {error} ({detail})")
