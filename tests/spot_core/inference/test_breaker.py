"""The breaker opens after so many failures in a row, at once for what no call can escape, and stays open."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.errors import EngineError, OutageError, RefusedRequestError
from spot_core.inference.limits import CircuitBreaker


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
