"""Requests and tokens are spread evenly: in no stretch of time more than its share, and no caller is passed over.

Time is the event loop's own, which jumps over its waits here: so minutes cost nothing, and nothing depends on the machine.
"""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.inference.limits import Pace

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
