"""One async OpenAI-compatible client for rollout, evaluation and Oracles."""

from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from spot_core.errors import EngineError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHOWN_CHARACTERS = 200  # of an answer that is no JSON


class ModelClient:
    """Talks to one endpoint; retries with jittered exponential back-off and honours ``Retry-After``.

    Args:
        base_url: address of the API, or None for OpenAI's own.
        api_key: key, read from the environment or a secret by the caller; never logged.
        timeout_seconds: limit of one try.
        max_retries: further tries after a connection error, time-out, 408, 409, 429 or 5xx answer, or one that is
            no JSON object.
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
        self._api_key = api_key
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=timeout_seconds,
            max_retries=max_retries,
            http_client=openai.DefaultAsyncHttpxClient(
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
                event_hooks={"response": [_refuse_what_is_no_json]},
                # A proxy from the environment cannot reach a server on this machine.
                trust_env=base_url is None or urlsplit(base_url).hostname not in _LOOPBACK,
            ),
        )

    async def served_model(self) -> str:
        """Returns the name of the model that the endpoint serves, the first if there are several.

        Raises:
            EngineError: no answer after the last retry, or one that names no model.
        """
        try:
            page = await self._client.models.list()
        except openai.APIError as error:
            raise self._failure(error) from error
        models = page.model_dump(mode="json").get("data") or []
        if not models:
            raise EngineError(f"{self._address} names no model under /models: does it serve one?")
        return models[0]["id"]

    async def complete(self, *, prompt: list[int], model: str, **sampling: Any) -> dict[str, Any]:
        """Returns the raw completion of a prompt given as token ids.

        Raises:
            EngineError: no answer after the last retry, or the request was refused.
        """
        try:
            answer = await self._client.completions.create(model=model, prompt=prompt, **sampling)
        except openai.APIError as error:
            raise self._failure(error) from error
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
            raise self._failure(error) from error
        return answer.model_dump(mode="json")

    async def close(self) -> None:
        await self._client.close()

    @property
    def _address(self) -> str:
        url = self._client.base_url
        return f"{url.scheme}://{url.netloc.decode()}{url.path}"  # without a user's name and password

    def _failure(self, error: openai.APIError) -> EngineError:
        cause = "" if error.__cause__ is None else f" ({error.__cause__})"
        # Some endpoints repeat the key that they refuse.
        return EngineError(f"{self._address}: {error}{cause}".replace(self._api_key, "…"))


async def _refuse_what_is_no_json(response: httpx2.Response) -> None:
    """Takes a proxy's page or a cut body for what it is, a fault on the way: so it is retried like one."""
    if not response.is_success:
        return
    await response.aread()
    try:
        is_object = isinstance(response.json(), dict)
    except ValueError:
        is_object = False
    if not is_object:
        shown = response.text[:_SHOWN_CHARACTERS]
        raise httpx2.DecodingError(f"the answer is no JSON object: {shown!r}", request=response.request)
