"""Which processes are ours: those that carry the mark of this chaos run in their environment, and their descendants."""

import signal
import time
from collections.abc import Iterable, Iterator

import psutil

MARK = "SPOT_CHAOS"
"""Environment variable that everything started by one chaos run inherits; its value is unique to that run."""
_FORK_SECONDS = 5.0
"""How long a process that has just been forked may still have its parent's environment."""


class Family:
    """All processes that carry a mark, and those that came from them: some overwrite their environment."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._seen: set[psutil.Process] = set()
        self._others: set[psutil.Process] = set()

    def alive(self) -> list[psutil.Process]:
        """The processes that live now, found anew; zombies do not count."""
        for process in psutil.process_iter():
            if process in self._seen or process in self._others:
                continue
            try:
                if process.environ().get(MARK) == self._mark:
                    self._seen.add(process)
                elif time.time() - process.create_time() > _FORK_SECONDS:
                    self._others.add(process)
            except psutil.Error:
                continue
        for process in list(self._seen):
            try:
                self._seen.update(process.children(recursive=True))
            except psutil.Error:
                continue
        self._seen = {process for process in self._seen if lives(process)}
        return sorted(self._seen, key=lambda process: process.pid)

    def running(self, *words: str) -> Iterator[psutil.Process]:
        """Those of them whose command line holds all the words."""
        for process in self.alive():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                yield process

    def flows(self) -> list[psutil.Process]:
        """The processes that run flows, without the engines and trainers that those have started."""
        return [p for p in self.running("prefect") if _is_flow(p)]

    def strays(self, services: Iterable[int]) -> list[psutil.Process]:
        """Those that belong neither to a service (its head's process id is given) nor to a flow that runs."""
        alive = self.alive()
        kept = set(services) | {flow.pid for flow in self.flows()}
        grown = True
        while grown:
            inside = {p.pid for p in alive if _parent(p) in kept}
            grown = not inside <= kept
            kept |= inside
        return [process for process in alive if process.pid not in kept]

    def end(self) -> None:
        """Kills whatever is left."""
        for process in self.alive():
            send(process, signal.SIGKILL)


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Sends a signal; False if the process had gone."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_flow(process: psutil.Process) -> bool:
    try:
        line = process.cmdline()
        runs = "prefect.flow_engine" in line or "prefect.engine" in line or "execute" in line
        return runs and "PREFECT__FLOW_RUN_ID" in process.environ()
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def named(process: psutil.Process) -> str:
    """Process id and command line, for people."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)
