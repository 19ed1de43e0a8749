"""Node 0's side of a training job over several nodes: it waits for the others, tells them what to do, and hears
of it when one fails or goes away."""

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

from spot_core.config.train import TrainConfig, split_address
from spot_core.devices import has_gpu
from spot_core.errors import ConfigError, EngineError
from spot_core.training.job import TrainingJob
from spot_core.training.line import Diagnosis, Ended, Hello, Line, Message, Order, Over, Refusal
from spot_core.training.ranks import Seat

_MUST_AGREE = ("torch", "transformers", "deepspeed")
_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


def facts() -> dict[str, str]:
    """What must be the same on all nodes that train together."""
    return {**{name: version(name) for name in _MUST_AGREE}, "device": "GPU" if has_gpu() else "CPU"}


def join_command(address: str) -> str:
    """What a user runs on every other node, in the project's folder."""
    return f".venv/bin/spot join {address}"


@dataclass
class _Member:
    """Another node, as node 0 knows it."""

    host: str
    line: Line
    ended: Ended | None = None

    @property
    def name(self) -> str:
        return f"{self.host} ({self.line.peer_ip})"


@dataclass(frozen=True)
class NodeFailure:
    """Why another node ended the job."""

    node: str
    diagnosis: Diagnosis | None
    said: str
    """What happened there and the end of the node's log, or what is known without it."""


class Meeting:
    """The other nodes of a job, for as long as it runs; on leaving the context they are told how it ended.

    With a single node nothing listens, nobody is waited for and nobody fails.
    """

    def __init__(self, settings: TrainConfig) -> None:
        self._address = settings.rendezvous or ""
        self._missing = settings.nodes - 1
        self._members: list[_Member] = []
        self._unknown: list[Line] = []  # who has not said what it is
        self._listening: socket.socket | None = None
        self._ip = ""

    def __enter__(self) -> Self:
        if self._missing:
            self._listening = self._listen()
            self._ip = self._listening.getsockname()[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said = "" if error is None else (str(error) or type(error).__name__)
        for member in self._members:
            member.line.send(Over(completed=error is None, said=said))
            member.line.close()
        self._stop_listening()

    def gather(self, wait_seconds: float, on_wait: Callable[[str], None] | None = None) -> None:
        """Waits until all other nodes have come.

        Args:
            on_wait: called with what a person has to do for it.

        Raises:
            EngineError: some have not come within ``wait_seconds``.
        """
        if self._listening is None:
            return
        deadline = time.monotonic() + wait_seconds
        nodes, where, command = self._missing + 1, self._address + self._reach, join_command(self._address)
        said = f"training over {nodes} nodes waits at {where}. Run on each other node: {command}"
        log.warning("%s", said)
        if on_wait is not None:
            on_wait(said)
        while self._missing:
            if time.monotonic() > deadline:
                here = ", ".join(["this one", *(member.name for member in self._members)])
                raise EngineError(
                    f"{self._missing} of {nodes} nodes have not come to {where} within {wait_seconds / 60:g} "
                    f"minutes; here are {here}. Start the stage again, and run on each missing node, in the "
                    f"project's folder: {command}"
                )
            self._admit()
            time.sleep(_POLL_SECONDS)
        self._stop_listening()

    def begin(self, job: TrainingJob, *, log_path: Path) -> Seat:
        """Tells every member to start its ranks; returns node 0's own seat.

        Args:
            log_path: node 0's log; those of the others are beside it.
        """
        if not self._members:
            return Seat.alone()
        # Between here and torchrun another process may take the port: a rerun finds another.
        with socket.create_server((self._ip, 0)) as free:
            port = free.getsockname()[1]
        for node, member in enumerate(self._members, start=1):
            order = Order(
                node=node,
                job_path=job.job_path,
                job=job.model_dump_json(),
                store_port=port,
                log_path=log_path.with_name(f"{log_path.stem}-node{node}{log_path.suffix}").absolute(),
            )
            member.line.send(order)
        return Seat(node=0, own_ip=self._ip, store_ip=self._ip, store_port=port)

    def failures(self, wait_seconds: float = 0.0) -> list[NodeFailure]:
        """Nodes that are gone or whose ranks have failed: as far as it is known, or becomes known within a time."""
        deadline = time.monotonic() + wait_seconds
        while True:
            found = [self._failure(node, member) for node, member in enumerate(self._members, start=1)]
            failed = [failure for failure in found if failure is not None]
            if failed or not self._members or time.monotonic() >= deadline:
                return failed
            time.sleep(_POLL_SECONDS)

    def _failure(self, node: int, member: _Member) -> NodeFailure | None:
        name = f"node {node}, {member.name}"
        try:
            while (message := member.line.receive()) is not None:
                if isinstance(message, Ended):
                    member.ended = message
        except ConnectionError:
            if member.ended is None:
                gone = "gone; its `spot join` was ended, or the machine or its network is down"
                return NodeFailure(name, None, gone)
        if member.ended is not None and member.ended.status != 0:
            return NodeFailure(name, member.ended.diagnosis, member.ended.account)
        return None

    @property
    def _reach(self) -> str:
        """A warning where nobody else can come."""
        if not self._ip.startswith("127."):
            return ""
        return f" (here {self._ip}, an address that only this machine reaches)"

    def _listen(self) -> socket.socket:
        host, port = split_address(self._address)
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
            return socket.create_server(found[0][4])
        except OSError as error:
            raise ConfigError(
                f"train.rendezvous = {self._address}: cannot listen there ({error}). It must be a free port, at an "
                "address that this machine has and the other nodes reach"
            ) from error

    def _stop_listening(self) -> None:
        for line in self._unknown:
            line.close()
        self._unknown = []
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _admit(self) -> None:
        """Lets in who has come, and forgets who has left again."""
        assert self._listening is not None
        self._listening.settimeout(_POLL_SECONDS)
        with contextlib.suppress(TimeoutError, ConnectionError):  # nobody came, or left at once
            self._unknown.append(Line(self._listening.accept()[0]))
        for member in list(self._members):
            try:
                member.line.receive()
            except ConnectionError:
                log.warning("%s has left before training began", member.name)
                self._members.remove(member)
                self._missing += 1
        for line in list(self._unknown):
            try:
                message = line.receive()
            except ConnectionError as error:
                log.warning("%s called and was no node: %s", line.peer_ip, error)
                self._unknown.remove(line)
                line.close()
                continue
            if message is not None:
                self._unknown.remove(line)
                self._answer(line, message)

    def _answer(self, line: Line, message: Message) -> None:
        here = facts()
        if not isinstance(message, Hello):
            why = "it talks out of turn"
        elif differ := [name for name in here if message.facts.get(name) != here[name]]:
            why = "it does not match node 0: " + "; ".join(
                f"{name} {message.facts.get(name)} there, {here[name]} here" for name in differ
            )
        elif not self._missing:
            why = "all nodes of this job are there"
        else:
            member = _Member(message.host, line)
            self._members.append(member)
            self._missing -= 1
            log.info("%s has come; %d missing", member.name, self._missing)
            return
        log.warning("%s was sent away: %s", line.peer_ip, why)
        line.send(Refusal(why=why))
        line.close()
