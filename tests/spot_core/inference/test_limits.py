"""Failures in a row, the rate of requests, and the size and time of an answer are bounded."""

import asyncio
import gzip
import itertools
import time
import tracemalloc

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.errors import EngineError, OutageError, RefusedRequestError
from spot_core.inference.limits import AnswerTooLargeError, CircuitBreaker, Pace, SizeLimit, time_limit


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_it_is_open_from_the_first_run_of_failures_on(most, outcomes):
    breaker = CircuitBreaker(most)
    for number, answered in enumerate(outcomes, start=1):
        if answered:
            breaker.succeeded()
        else:
            breaker.failed(EngineError("no"))
        runs = "".join("." if fine else "x" for fine in outcomes[:number])
        assert breaker.is_open == ("x" * most in runs)


def test_it_says_how_many_failed_why_and_what_to_do():
    breaker = CircuitBreaker(3)
    for _ in range(5):
        breaker.succeeded()
    for number in range(3):
        breaker.check()
        breaker.failed(EngineError(f"failure {number}"))
    breaker.failed(EngineError("one that was still in flight"))
    with pytest.raises(OutageError, match=r"3 calls in a row.*5 were answered.*failure 2.*start again"):
        breaker.check()


def test_a_refusal_of_everything_opens_it_at_once():
    breaker = CircuitBreaker(1000)
    breaker.failed(RefusedRequestError("HTTP 401 (check the API key)"))
    with pytest.raises(OutageError, match="check the API key"):
        breaker.check()


def test_a_wait_before_a_retry_ends_when_it_opens():
    async def run():
        breaker = CircuitBreaker(1)
        await breaker.sleep(0.01)
        waiting = asyncio.create_task(breaker.sleep(10_000))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        breaker.failed(EngineError("no"))
        with pytest.raises(OutageError):
            await waiting

    asyncio.run(run())


_TICK = 1e-7  # seconds: a clock always moves


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its clock goes forward by as much as it would have slept."""

    def __init__(self):
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def skip(timeout=None):
            self._now += (timeout or 0.0) + _TICK
            return select(0)

        self._selector.select = skip

    def time(self):
        return self._now


def pace(requests_per_minute=None, tokens_per_minute=None, *, connections=200, seconds=None):
    """A pace that knows how long a call takes, if it does."""
    made = Pace(requests_per_minute, tokens_per_minute, connections=connections)
    if seconds is not None:
        made.took(seconds)
    return made


def sent_at(pace, tokens):
    """When each of the requests may go, all having come at once; in the order in which they go."""
    order = []

    async def one(number, amount):
        await pace.wait(amount)
        order.append((asyncio.get_running_loop().time(), number))

    async def run():
        await asyncio.gather(*(one(number, amount) for number, amount in enumerate(tokens)))

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(run())
    return order


def gaps(order):
    return [later - earlier for (earlier, _), (later, _) in itertools.pairwise(order)]


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 100), st.integers(1, 300))
def test_without_limits_a_wave_of_calls_is_spread_over_half_the_time_of_one(seconds, connections):
    order = sent_at(pace(connections=connections, seconds=seconds), [0] * connections)
    assert order[-1][0] == pytest.approx(seconds / 2 * (connections - 1) / connections, rel=0.01, abs=1e-4)


def test_the_spread_follows_the_time_that_calls_take():
    paced = pace(seconds=100, connections=10)
    for _ in range(400):
        paced.took(2)
    assert sent_at(paced, [0, 0])[1][0] == pytest.approx(0.1, rel=0.05)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5000), st.integers(2, 40))
def test_requests_keep_their_distance(per_minute, count):
    order = sent_at(pace(per_minute), [0] * count)
    assert min(gaps(order)) >= 60 / per_minute * 0.99
    assert order[-1][0] == pytest.approx((count - 1) * 60 / per_minute, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.integers(600, 100_000), st.lists(st.integers(100, 20_000), min_size=2, max_size=15))
def test_tokens_flow_at_their_rate_in_the_order_of_the_callers(per_minute, tokens):
    order = sent_at(pace(None, per_minute), tokens)
    assert [number for _, number in order] == list(range(len(tokens)))
    for gap, amount in zip(gaps(order), tokens, strict=False):
        assert gap == pytest.approx(max(amount / per_minute * 60, 0.001), rel=0.01)


def test_both_limits_hold_together():
    assert sent_at(pace(60, 6000), [50] * 20)[-1][0] == pytest.approx(19 * 1, rel=0.01)
    assert sent_at(pace(6000, 600), [50] * 20)[-1][0] == pytest.approx(19 * 5, rel=0.01)


def test_what_was_not_used_is_not_made_up_for_in_a_burst():
    paced = pace(60)

    async def run():
        await paced.wait(0)
        await asyncio.sleep(100)
        started = asyncio.get_running_loop().time()
        for _ in range(5):
            await paced.wait(0)
        return asyncio.get_running_loop().time() - started

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        assert runner.run(run()) == pytest.approx(4, rel=0.01)


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


def test_what_takes_too_long_is_ended():
    ended = []

    async def run():
        with pytest.raises(TimeoutError):
            async with time_limit(0.05):
                try:
                    await asyncio.sleep(60)
                finally:
                    ended.append(True)

    asyncio.run(run())
    assert ended == [True]


def test_what_is_done_in_time_leaves_nothing_behind():
    async def run():
        async with time_limit(0.01):
            pass
        await asyncio.sleep(0.05)

    asyncio.run(run())


def test_an_error_of_the_block_is_its_own():
    async def run():
        async with time_limit(10):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(run())


def test_a_cancelled_block_is_cancelled():
    async def block():
        async with time_limit(10):
            await asyncio.sleep(60)

    async def run():
        task = asyncio.create_task(block())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_what_came_while_the_loop_was_blocked_is_not_lost():
    async def several_steps():
        for _ in range(5):
            await asyncio.sleep(0.04)
        return "done"

    async def run():
        asyncio.get_running_loop().call_later(0.02, time.sleep, 0.8)
        async with time_limit(0.3):
            return await several_steps()

    assert asyncio.run(run()) == "done"
