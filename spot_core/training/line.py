"""The line between two nodes: JSON messages over one TCP connection that stays open.

The open line is the sign of life. A process that ends, however it ends, closes it at once; a machine that
vanishes is noticed by TCP's keep-alive. There is no password and no encryption, as in torch's own stores and
collectives: it belongs on a private network.
"""

import select
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

_SILENT_SECONDS = 60
"""A machine that answers no keep-alive for this long is gone."""
_PROBES = 4
_SEND_SECONDS = 10.0
_MOST_BYTES = 2**20
_CHUNK = 2**16


class Hello(BaseModel):
    """A node has come."""

    kind: Literal["hello"] = "hello"
    host: str
    facts: dict[str, str]
    """What must be the same on all nodes."""


class Refusal(BaseModel):
    """Node 0 does not take the node."""

    kind: Literal["refusal"] = "refusal"
    why: str


class Order(BaseModel):
    """Node 0 tells a node to start its ranks."""

    kind: Literal["order"] = "order"
    node: int
    job_path: Path
    job: str
    """The content of that file, as node 0 wrote it."""
    store_port: int
    """Where torchrun's store listens on node 0."""
    log_path: Path


class Diagnosis(BaseModel):
    """What a rank said before it gave up: the class in `spot_core.errors`, and the message."""

    kind: str
    message: str


class Ended(BaseModel):
    """The ranks of a node have ended."""

    kind: Literal["ended"] = "ended"
    status: int
    diagnosis: Diagnosis | None = None
    account: str = ""
    """What happened there, and the end of the log."""


class Over(BaseModel):
    """Node 0 says that the job has come to its end."""

    kind: Literal["over"] = "over"
    completed: bool
    said: str = ""


Message = Hello | Refusal | Order | Ended | Over
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class Line:
    """One end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(_SEND_SECONDS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        every = _SILENT_SECONDS // _PROBES
        for option, value in (("TCP_KEEPIDLE", every), ("TCP_KEEPINTVL", every), ("TCP_KEEPCNT", _PROBES)):
            if hasattr(socket, option):  # Linux
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._received = b""
        self._closed = False
        self.own_ip: str = connection.getsockname()[0]
        self.peer_ip: str = connection.getpeername()[0]

    def send(self, message: Message) -> bool:
        """Sends a message; False if the other side is gone, which `receive` tells too."""
        try:
            self._socket.sendall(message.model_dump_json().encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> Message | None:
        """Returns the oldest message that has not been returned yet, or None if none has come.

        Raises:
            ConnectionError: the other side is gone and everything it said has been returned, or it talks
                something else.
        """
        while not self._closed and select.select([self._socket], [], [], 0)[0]:
            try:
                data = self._socket.recv(_CHUNK)
            except OSError:  # reset, or no answer to keep-alive
                data = b""
            self._closed = not data
            self._received += data
            if len(self._received) > _MOST_BYTES:
                raise ConnectionError("it talks something else")
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            if self._closed:
                raise ConnectionError("the connection is closed")
            return None
        self._received = rest
        try:
            return _MESSAGES.validate_json(line)
        except ValidationError as error:
            raise ConnectionError("it talks something else") from error

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()
