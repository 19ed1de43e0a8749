"""A streamed chat completion, put together to what it would have been without streaming."""

from typing import Any

import httpx2
from openai import AsyncOpenAI, AsyncStream
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from spot_core.inference.retries import Mends, TryError

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
