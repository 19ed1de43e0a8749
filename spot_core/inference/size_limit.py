"""A limit on the size of an answer, as it comes off the wire and after decompression."""

from collections.abc import AsyncIterator

import httpx2

_UNIT = 2**20


class AnswerTooLargeError(httpx2.DecodingError):
    """An answer is larger than the limit; it was not read to its end."""


class SizeLimit:
    """An event hook for responses of an ``httpx2.AsyncClient``: whoever reads the body meets the limit.

    It holds for every body (answers, errors, redirects, streams), whether the server names a length or not.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    async def __call__(self, response: httpx2.Response) -> None:
        """Puts the limited body in the place of the body."""
        inner = httpx2.Response(
            response.status_code,
            headers=response.headers.copy(),
            stream=response.stream,
            request=response.request,
        )
        response.stream = _LimitedBody(inner, self._most_bytes)
        response.headers.pop("content-encoding", None)  # the limited body is decompressed already


class _LimitedBody(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, most_bytes: int) -> None:
        self._response = response
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._response.aiter_bytes():  # decompresses a piece at a time
            seen += len(chunk)
            if seen > self._most_bytes:
                limit = self._most_bytes / _UNIT
                raise AnswerTooLargeError(
                    f"the answer is larger than {limit:g} MiB", request=self._response.request
                )
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()
