"""What is seen of a run from outside: in which stage it is, whether it gets on, and which processes have gone astray."""

import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from spot_core.config.spot import STAGES, StageName
from tests.chaos.processes import named
from tests.chaos.topology import Topology

ORPHAN_SECONDS = 30.0
"""How long after the end of its flow a process may live."""
_WORK = (
    "*/*/*/.work/*.jsonl",
    "*/*/*/.work/out/*",
    "*/*/*/metrics.jsonl",
    "*/*/*/manifest.json",
    "replies/*.jsonl",
)
_STATE = "train/*/*/.work/scratch/state/*"


def stage_of(store: Path) -> StageName:
    """The stage that is being made: the one after the last that is complete."""
    for before, stage in zip(reversed(STAGES[:-1]), reversed(STAGES[1:]), strict=True):
        if any(store.glob(f"{before}/*/*/manifest.json")):
            return stage
    return STAGES[0]


class Watch:
    """Looked through now and then.

    Attributes:
        got_on: when (by the monotonic clock) work was last seen to be done: rows, steps, checkpoints, artifacts.
        stirred: when anything changed at all, such as an engine's log.
        orphans: processes that outlived their flow by `ORPHAN_SECONDS`, in words.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._work: set[tuple[str, int]] = set()
        self._files: set[tuple[str, int]] = set()
        self._astray: dict[psutil.Process, float] = {}
        self.got_on = self.stirred = time.monotonic()
        self.orphans: set[str] = set()

    def look(self) -> None:
        """Notes what has changed since the last look."""
        now = time.monotonic()
        store = self._topology.store
        work = _sizes(path for pattern in (*_WORK, _STATE) for path in store.glob(pattern))
        if work - self._work:
            self.got_on = now
        self._work = work
        files = _sizes(store.rglob("*"))
        if files != self._files:
            self.stirred = now
        self._files = files
        self._look_for_orphans(now)

    def _look_for_orphans(self, now: float) -> None:
        astray = self._topology.family.strays(self._topology.heads())
        self._astray = {process: self._astray.get(process, now) for process in astray}
        for process, since in self._astray.items():
            if now - since > ORPHAN_SECONDS:
                self.orphans.add(named(process))


def _sizes(paths: Iterable[Path]) -> set[tuple[str, int]]:
    found = set()
    for path in paths:
        try:
            found.add((str(path), path.stat().st_size))
        except FileNotFoundError:
            continue
    return found
