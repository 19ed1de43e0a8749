"""Checks many rows: fast rules here, the rest in worker processes that are killed at the time limit.

Workers start with the first row that needs one. They are spawned (a fork would inherit the parent's pipes and
locks) and do not load the caller's main module, so a script needs no `if __name__ == "__main__"` and a flow's
workers do not import Prefect.
"""

import atexit
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, Self
from weakref import WeakSet

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from spot_core.checker.rules import SlowCase, decide
from spot_core.checker.verdict import CheckItem, Decision, Verdict
from spot_core.checker.worker import DEFAULT_MEMORY_BYTES, compare, load_seconds, start_worker
from spot_core.errors import EngineError

log = logging.getLogger(__name__)

LOOK_AHEAD_ROWS = 1_024
"""Rows read ahead of the row that is awaited; bounds memory for endless inputs."""
POOL_LOST_POLL_SECONDS = 1.0
"""How often a waiting row looks whether the pool still lives: pebble drops queued tasks of a broken pool."""
POOL_STUCK_SECONDS = 30.0
"""When no comparison was under way for so long, tasks are lost: a worker was killed between taking one and saying so."""
POOL_START_SECONDS = 300.0
"""The same for a pool whose workers have not begun anything yet: loading SymPy may take long on a busy machine."""
MOST_LOSSES = 5
"""How often a row is handed over again after it got lost without having been begun."""
DEFAULT_TIMEOUT_SECONDS = 2.0


class _ProcessWithoutMain(SpawnProcess):
    _hidden = threading.Lock()

    @classmethod
    def _Popen(cls, process_obj: SpawnProcess) -> object:  # noqa: N802 - multiprocessing's name
        # Spawn tells the child to import the parent's main module; an empty one leaves nothing to import.
        with cls._hidden:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class _SpawnContext(SpawnContext):
    Process = _ProcessWithoutMain


@dataclass(slots=True)
class _Pending:
    """A row that a worker compares."""

    case: SlowCase
    future: ProcessFuture
    seconds: float
    """Time the fast rules took until they gave up."""


class CheckerPool:
    """A pool of checking processes; safe to share between threads.

    `workers`: processes for the slow rows, 0 for one per core. `timeout_seconds`: wall time of one comparison.
    `memory_bytes`: address space of one worker, of which SymPy itself needs about 0.4 GB.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        assert workers >= 0, workers
        assert timeout_seconds > 0, timeout_seconds
        self._workers = workers or len(os.sched_getaffinity(0))
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._has_worked = False
        self._has_begun = False  # the pool of this moment
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._futures: WeakSet[ProcessFuture] = WeakSet()  # what this pool was given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the workers; rows still in them are given up."""
        with self._lock:
            self._discard()

    def check(
        self,
        response: str,
        gold: str,
        *,
        kind: str = "math",
        finish_reason: str | None = None,
        metadata: str | None = None,
    ) -> Verdict:
        """The verdict on one response; see `CheckItem`."""
        return self.check_item(CheckItem(response, gold, kind, finish_reason, metadata))

    def check_item(self, item: CheckItem) -> Verdict:
        """The verdict on one item."""
        return next(self.check_many([item]))

    def check_many(self, items: Iterable[CheckItem]) -> Iterator[Verdict]:
        """One verdict per item, in order, as they become known."""
        waiting: deque[Verdict | _Pending] = deque()
        try:
            for item in items:
                started = time.perf_counter()
                outcome = _decided(item)
                seconds = time.perf_counter() - started
                if isinstance(outcome, SlowCase):
                    waiting.append(_Pending(outcome, self._submit(outcome), seconds))
                else:
                    waiting.append(replace(outcome, seconds=seconds))
                while waiting and (len(waiting) > LOOK_AHEAD_ROWS or _is_known(waiting[0])):
                    yield self._verdict(waiting.popleft())
            while waiting:
                yield self._verdict(waiting.popleft())
        finally:
            for row in waiting:
                if isinstance(row, _Pending):
                    row.future.cancel()

    def _verdict(self, row: Verdict | _Pending) -> Verdict:
        if isinstance(row, Verdict):
            return row
        decision, seconds = self._decision(row)
        return replace(row.case.verdict(decision), seconds=row.seconds + seconds)

    def _decision(self, row: _Pending) -> tuple[Decision, float]:
        """The worker's decision with the seconds it took there."""
        deaths = losses = 0
        while deaths < 2 and losses < MOST_LOSSES:
            error = self._wait(row.future)
            self._has_worked |= error is None or isinstance(error, TimeoutError | ProcessExpired)
            if error is None:
                self._has_begun = True
                return row.future.result()
            if isinstance(error, TimeoutError) or _was_alarmed(error):
                return ("timeout", "time_limit"), self._timeout_seconds
            # A worker may have died of this very row, or been killed by chance: one more try tells.
            if isinstance(error, ProcessExpired):
                deaths += 1
            elif isinstance(error, RuntimeError):
                losses += 1
            else:
                return ("ambiguous", f"engine_error:{type(error).__name__}"), 0.0
            row.future = self._submit(row.case)
        if not self._has_worked:
            raise EngineError(
                "the checking processes do not start: look at the worker's output above, and give them more room with "
                "filter.memory_gb"
            )
        return ("timeout", "worker_died"), 0.0

    def _wait(self, future: ProcessFuture) -> BaseException | None:
        """The error of a future once it is done; RuntimeError where the pool lost it."""
        moved = time.monotonic()
        while True:
            try:
                return future.exception(timeout=POOL_LOST_POLL_SECONDS)
            except CancelledError:
                return RuntimeError("the pool is gone")
            except TimeoutError:
                with self._lock:
                    if any(other.running() for other in list(self._futures)):
                        self._has_begun = True
                        moved = time.monotonic()
                    limit = POOL_STUCK_SECONDS if self._has_begun else POOL_START_SECONDS
                    stuck = time.monotonic() - moved > limit
                    if self._pool is None or not self._pool.active or stuck:
                        self._discard()

    def _submit(self, case: SlowCase) -> ProcessFuture:
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._discard()
                self._has_begun = False
                self._pool = ProcessPool(
                    self._workers,
                    initializer=start_worker,
                    initargs=[self._memory_bytes],
                    context=_SpawnContext(),
                )
            args = (compare, case, self._timeout_seconds)
            limit = self._timeout_seconds + load_seconds(case.kind)
            future = self._pool.schedule(_timed, args=args, timeout=limit)
            self._futures.add(future)
            return future

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None
        for future in list(self._futures):  # a pool that is stopped leaves what it has not begun as it is
            future.cancel()
        self._futures = WeakSet()


def _was_alarmed(error: BaseException) -> bool:
    """Whether a worker ended itself at the time limit; see `worker.compare`."""
    return isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGALRM


def _is_known(row: Verdict | _Pending) -> bool:
    return isinstance(row, Verdict) or row.future.done()


def _decided(item: CheckItem) -> Verdict | SlowCase:
    """The fast rules' outcome; a fault in them costs one row, never a batch."""
    try:
        return decide(item)
    except Exception as error:
        log.exception("the rules failed on a row with the gold answer %.200r", item.gold)
        return Verdict("ambiguous", None, f"rule_error:{type(error).__name__}")


def _timed(comparison: Callable[..., Decision], *args: Any) -> tuple[Decision, float]:
    """Runs in the worker: the decision, and the seconds it took without the time spent waiting for a worker."""
    started = time.perf_counter()
    return comparison(*args), time.perf_counter() - started


@functools.cache
def _shared_pool() -> CheckerPool:
    pool = CheckerPool(workers=1)
    atexit.register(pool.close)
    return pool


def check(response: str, gold: str, *, kind: str = "math", finish_reason: str | None = None) -> Verdict:
    """The verdict on one response, from any thread; a worker process starts with the first slow comparison.

    For many rows use `check_many`, for other limits a `CheckerPool`.
    """
    return _shared_pool().check(response, gold, kind=kind, finish_reason=finish_reason)


def check_many(
    items: Iterable[CheckItem], *, workers: int, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> Iterator[Verdict]:
    """One verdict per item, in order; the workers live as long as the iteration."""
    with CheckerPool(workers=workers, timeout_seconds=timeout_seconds) as pool:
        yield from pool.check_many(items)
