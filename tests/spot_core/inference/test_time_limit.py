"""What takes too long is ended; what came while this process was busy is not lost."""

import asyncio
import time

import pytest

from spot_core.inference.limits import time_limit


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
