"""Injects faults at random moments, spread over the stages of a run."""

import logging
import random
import threading
import time
from dataclasses import dataclass

import psutil

from spot_core.config.spot import STAGES, StageName
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.topology import Topology
from tests.chaos.watch import Watch, stage_of

log = logging.getLogger(__name__)

SHARES: dict[StageName, float] = {
    "rollout": 0.28,
    "filter": 0.04,
    "rectify": 0.24,
    "train": 0.26,
    "evaluate": 0.18,
}
"""Of all faults, how many a stage gets; what a stage was too short for goes to those after it."""
SMALL_SHARES: dict[StageName, float] = {
    "rollout": 0.0,
    "filter": 0.2,
    "rectify": 0.4,
    "train": 0.4,
    "evaluate": 0.0,
}
"""The same for a run that has no rollout and no evaluation of its own."""
_GET_ON_SECONDS = 60.0
_PATIENCE = 0.4
_LOOK_SECONDS = 0.1


@dataclass
class Injected:
    """A fault that hit.

    Attributes:
        at: when it was over, in seconds since the start of the run.
        recovered: seconds from then until work was done again; None as long as none was.
    """

    kind: str
    stage: StageName
    at: float
    recovered: float | None = None


class Campaign(threading.Thread):
    """A thread that injects ``count`` faults into a run, then ends.

    The seed decides the order of the kinds and the pauses; what hits what is decided by the run.
    """

    def __init__(
        self,
        topology: Topology,
        watch: Watch,
        *,
        count: int,
        seed: int,
        pause_seconds: float,
        shares: dict[StageName, float],
    ) -> None:
        super().__init__(daemon=True)
        self._topology, self._watch, self._count, self._pause = topology, watch, count, pause_seconds
        self._shares = shares
        self._rng = random.Random(seed)
        self._began = time.monotonic()
        self._over = threading.Event()
        self.injected: list[Injected] = []
        self.kinds = [kind for kind in FAULTS if topology.ground.mounted or not kind.needs_mount]
        self.failure: BaseException | None = None

    def run(self) -> None:
        """The thread's body; a fault that could not be injected or healed fails the chaos run."""
        try:
            while len(self.injected) < self._count and not self._over.is_set():
                if len(self.injected) < self._due(stage_of(self._topology.store)):
                    self._wait()
                    self._inject()
                else:
                    self._over.wait(_LOOK_SECONDS)
        except Exception as error:
            self.failure = error
            raise

    def end(self) -> None:
        """Stops injecting, e.g. because the run is over."""
        self._over.set()
        self.join()

    def _due(self, stage: StageName) -> int:
        """How many faults there should have been by the end of this stage."""
        return round(self._count * sum(self._shares[name] for name in STAGES[: STAGES.index(stage) + 1]))

    def _wait(self) -> None:
        """A random while; often the run has to get on first, else faults would only hit what starts."""
        if self.injected and self._rng.random() < _PATIENCE:
            since = time.monotonic()
            while self._watch.got_on < since < time.monotonic() < since + _GET_ON_SECONDS:
                if self._over.wait(_LOOK_SECONDS):
                    return
        self._over.wait(min(self._rng.expovariate(1 / self._pause), 3 * self._pause))

    def _inject(self) -> None:
        for kind in self._order():
            if self._over.is_set():
                return
            stage = stage_of(self._topology.store)
            if self._hits(kind):
                at = time.monotonic() - self._began
                self.injected.append(Injected(kind.name, stage, round(at, 1)))
                log.info("%5.0f s: fault %d, %s, in %s", at, len(self.injected), kind.name, stage)
                return
        self._over.wait(_LOOK_SECONDS)

    def _hits(self, kind: Fault) -> bool:
        try:
            return kind.inject(self._topology, self._rng)
        except psutil.NoSuchProcess:  # the target went away by itself
            return False

    def _order(self) -> list[Fault]:
        """All kinds, drawn by weight; those that hit often already come later."""
        hits = {kind.name: sum(one.kind == kind.name for one in self.injected) for kind in self.kinds}
        return sorted(
            self.kinds,
            key=lambda kind: self._rng.expovariate(kind.weight / (1 + hits[kind.name]) ** 2),
        )

    def note_recovery(self) -> None:
        """Gives every fault its time to recovery, once work was done after it."""
        got_on = self._watch.got_on - self._began
        for fault in self.injected:
            if fault.recovered is None and got_on > fault.at:
                fault.recovered = round(got_on - fault.at, 1)
