"""The faults: each finds its target among the processes of this chaos run, and is healed by itself if it is temporary."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.chaos.processes import send
from tests.chaos.topology import Topology

Targets = list[psutil.Process]
Inject = Callable[[Topology, random.Random], bool]
"""Does a fault and returns when it is over; False if there is no target now."""


KILL, TERM = signal.SIGKILL, signal.SIGTERM


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        inject: does it.
        weight: how often it is drawn, compared with the others.
        needs_mount: the store has to be a file system of its own.
    """

    name: str
    inject: Inject
    weight: float = 1.0
    needs_mount: bool = False


def _engines(topology: Topology) -> Targets:
    api = "vllm.entrypoints.openai.api_server"
    return [p for p in topology.family.running(api) if "spot_core.processes.guard" not in p.cmdline()]


def _engine_cores(topology: Topology) -> Targets:
    return list(topology.family.running("VLLM::"))


def _ranks(topology: Topology) -> Targets:
    return [p for p in topology.family.running("spot_core.training.worker") if not _starts(p)]


def _starts(process: psutil.Process) -> bool:
    """Whether this is the guard or torchrun, whose command lines hold that of the ranks."""
    line = process.cmdline()
    return "spot_core.processes.guard" in line or "spot_core.training.agent" in line


def _signalled(targets: Callable[[Topology], Targets], number: signal.Signals) -> Inject:
    """Sends a signal to one of the targets."""

    def inject(topology: Topology, rng: random.Random) -> bool:
        found = targets(topology)
        return bool(found) and send(rng.choice(found), number)

    return inject


def _worker_and_flow(topology: Topology, rng: random.Random) -> bool:
    """A machine that is gone: nobody is left to say that the run has crashed."""
    alive = bool(_flows(topology))
    return alive and _service("worker")(topology, rng) and _signalled(_flows, KILL)(topology, rng)


def _flows(topology: Topology) -> Targets:
    return topology.family.flows()


def _service(name: str) -> Inject:
    """Kills a service, as far as it consists of one container with all that is in it."""

    def inject(topology: Topology, rng: random.Random) -> bool:
        service = rng.choice(topology.services(name))
        if service.pid is None or service.died:
            return False
        head = psutil.Process(service.pid)
        inside = [] if name == "worker" else head.children(recursive=True)
        for process in [*inside, head]:
            send(process, KILL)
        return True

    return inject


def _read_only(topology: Topology, rng: random.Random) -> bool:
    topology.ground.read_only()
    try:
        time.sleep(rng.uniform(4, 12))
    finally:
        topology.ground.writable()
    return True


def _full(topology: Topology, rng: random.Random) -> bool:
    """Full, and kept so although files are deleted meanwhile."""
    until = time.monotonic() + rng.uniform(4, 12)
    try:
        while time.monotonic() < until:
            topology.ground.fill()
            time.sleep(0.2)
    finally:
        topology.ground.make_room()
    return True


def _oracle_cut(topology: Topology, rng: random.Random) -> bool:
    if not topology.proxy.open:
        return False
    topology.proxy.cut()
    try:
        time.sleep(rng.uniform(3, 10))
    finally:
        topology.proxy.mend()
    return True


FAULTS = (
    Fault("kill -9 vLLM", _signalled(_engines, KILL)),
    Fault("kill -9 EngineCore", _signalled(_engine_cores, KILL)),
    Fault("kill -9 rank", _signalled(_ranks, KILL), weight=2),
    Fault("kill -9 worker", _service("worker")),
    Fault("kill -9 flow process", _signalled(_flows, KILL)),
    Fault("kill -9 worker and flow process", _worker_and_flow, weight=0.7),
    Fault("SIGTERM flow process", _signalled(_flows, TERM)),
    Fault("kill -9 Prefect server", _service("server")),
    Fault("kill -9 PostgreSQL", _service("postgres"), weight=0.7),
    Fault("store read-only", _read_only, needs_mount=True),
    Fault("store full", _full, needs_mount=True),
    Fault("network to the Oracle cut", _oracle_cut, weight=4),  # its target is there for a short time
)
