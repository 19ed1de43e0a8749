"""No answer is read further than the limit, however it is packed; one below it comes through whole."""

import asyncio
import gzip
import tracemalloc

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.inference.limits import AnswerTooLargeError, SizeLimit

LIMIT = 1000
MIB = 2**20


def packed(body, times):
    for _ in range(times):
        body = gzip.compress(body, compresslevel=1)
    return body


def read(data, *, times, limit, piece=2**16, status=200):
    """What a client with the limit reads of data that is gzipped so many times and comes in pieces."""

    async def pieces():
        for start in range(0, len(data), piece):
            yield data[start : start + piece]

    def answer(request):
        headers = {"content-encoding": ", ".join(["gzip"] * times)} if times else {}
        return httpx2.Response(status, headers=headers, content=pieces())

    async def run():
        hooks = {"response": [SizeLimit(limit)]}
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), event_hooks=hooks) as client:
            return (await client.get("http://127.0.0.1/")).content

    return asyncio.run(run())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2 * LIMIT), st.integers(0, 3), st.integers(1, 700), st.sampled_from([200, 404, 500]))
def test_the_limit_is_on_what_is_read_in_the_end(size, times, piece, status):
    body = bytes(n * n % 251 for n in range(size))
    data = packed(body, times)
    if size <= LIMIT:
        assert read(data, times=times, limit=LIMIT, piece=piece, status=status) == body
    else:
        with pytest.raises(AnswerTooLargeError):
            read(data, times=times, limit=LIMIT, piece=piece, status=status)


def test_a_bomb_is_not_unpacked():
    data = packed(b" " * 256 * MIB, 2)
    assert len(data) < MIB
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLargeError, match="4 MiB"):
            read(data, times=2, limit=4 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB
