"""Requests and tokens are spread evenly: in no stretch of time more than its share, and no caller is passed over.

Time is the event loop's own, which jumps over its waits here: so minutes cost nothing, and nothing depends on the machine.
"""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.inference.pacing import Pace

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


def test_without_limits_nothing_waits():
    assert max(when for when, _ in sent_at(Pace(None, None), [10**9] * 50)) < 0.001


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5000), st.integers(2, 40))
def test_requests_keep_their_distance(per_minute, count):
    times = [when for when, _ in sent_at(Pace(per_minute, None), [0] * count)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 60 / per_minute * 0.99
    assert times[-1] == pytest.approx((count - 1) * 60 / per_minute, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.integers(600, 100_000), st.lists(st.integers(0, 20_000), min_size=1, max_size=15))
def test_tokens_flow_at_their_rate_in_the_order_of_the_callers(per_minute, tokens):
    order = sent_at(Pace(None, per_minute), tokens)
    paid = [(when, number) for when, number in order if tokens[number]]
    assert [number for _, number in paid] == [number for number, amount in enumerate(tokens) if amount]
    flowed = 0
    for when, number in paid:
        flowed += tokens[number]
        # One second's worth may go at once; the rest drips.
        assert flowed <= (per_minute / 60) * (when + 1) * 1.001 + 1
        assert when <= flowed / (per_minute / 60) + 0.1


def test_a_large_call_is_not_passed_over_by_small_ones():
    order = sent_at(Pace(None, 600), [10, 5000, *[1] * 30])
    assert [number for _, number in order[:3]] == [0, 1, 2]


def test_both_limits_hold_together():
    order = sent_at(Pace(60, 6000), [50] * 20)
    assert order[-1][0] == pytest.approx(19, rel=0.05)
    order = sent_at(Pace(6000, 600), [50] * 20)
    assert order[-1][0] == pytest.approx((20 * 50 - 10) / 10, rel=0.05)
