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
        body = response.stream
        assert isinstance(body, httpx2.AsyncByteStream)
        if "content-encoding" in response.headers:
            body = _Decompressed(response.headers.copy(), body)
            del response.headers["content-encoding"]
        response.stream = _Limited(body, self._most_bytes)


class _Decompressed(httpx2.AsyncByteStream):
    """A body as httpx decompresses it, a piece at a time."""

    def __init__(self, headers: httpx2.Headers, body: httpx2.AsyncByteStream) -> None:
        self._response = httpx2.Response(200, headers=headers, stream=body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_bytes()

    async def aclose(self) -> None:
        await self._response.aclose()


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._body = body
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for piece in self._body:
            seen += len(piece)
            if seen > self._most_bytes:
                raise AnswerTooLargeError(f"the answer is larger than {self._most_bytes / _UNIT:g} MiB")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()
