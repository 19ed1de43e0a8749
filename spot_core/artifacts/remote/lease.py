"""The right to write one artifact of an object store: it expires, and whoever lost it cannot do harm.

The holder of a lease writes an object again every few seconds. Others take it over once they have seen the same content
for as long as the lease lasts, by their own clock; they create the object of the next number, and only one of them can.
"""

import logging
import re
import threading
import time
import uuid
from typing import Any

from pydantic import BaseModel, ValidationError

from spot_core.artifacts.lease import Reminder, described, this_process
from spot_core.artifacts.remote.objects import Objects
from spot_core.errors import ArtifactError, ConfigError

log = logging.getLogger(__name__)

_RENEWALS = 6
"""In the time that a lease lasts."""
_NUMBER = re.compile(r"/(\d+)\.json$")


class Holder(BaseModel):
    """What the object of a lease says."""

    pid: int = 0
    host: str = "unknown"
    token: str
    scratch: str = ""
    seconds: float
    beat: int = 0
    released: bool = False

    def __str__(self) -> str:
        return described(self.model_dump())


class LeaseLostError(ArtifactError):
    """Another process has taken over what this one was writing."""


class RemoteLease:
    """One lease below ``folder``, whose holders are numbered.

    Args:
        objects: the store.
        folder: where the leases on one thing are.
        what: for people, what is held.
        scratch: identity of this machine's scratch folder. The caller holds the file lock there: so another holder
            with the same one is dead.
        seconds: how long it lasts without being renewed.

    Attributes:
        number: of this holder, higher than that of any before.
    """

    def __init__(self, objects: Objects, folder: str, *, what: str, scratch: str, seconds: float) -> None:
        self._objects, self._folder, self._what, self._scratch = objects, folder, what, scratch
        self._seconds = seconds
        self._token = uuid.uuid4().hex
        self._beat = 0
        self._lost_to = ""
        self._mutex = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease on {what}", daemon=True)
        self.number = -1

    def acquire(self, *, wait: bool = True) -> bool:
        """Takes the lease and keeps it until `release`; False if it is somebody else's and we are not to wait."""
        reminder, watched = Reminder(self._what), _Watched()
        while True:
            newest = self._newest()
            holder = self._read(newest) if newest >= 0 else Holder(token="", seconds=0.0, released=True)
            if holder is None:  # given back between the two requests
                continue
            if self._is_free(holder) or watched.unchanged_for((newest, holder)) > holder.seconds:
                if self._objects.create(self._name(newest + 1), self._content()):
                    break
                continue
            if not wait:
                return False
            reminder.waits_for(str(holder))
            time.sleep(self._pause)
        self.number = newest + 1
        self._objects.remove(self._name(number) for number in self._numbers() if number < self.number)
        self._thread.start()
        return True

    def _is_free(self, holder: Holder) -> bool:
        return holder.released or holder.scratch == self._scratch

    @property
    def _pause(self) -> float:
        return min(1.0, self._seconds / _RENEWALS)

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number}.json"

    def _numbers(self) -> list[int]:
        names = self._objects.listing(self._folder)
        return [int(match[1]) for name in names if (match := _NUMBER.search(name))]

    def _newest(self) -> int:
        return max(self._numbers(), default=-1)

    def _read(self, number: int) -> Holder | None:
        data = self._objects.read(self._name(number))
        if data is None:
            return None
        try:
            return Holder.model_validate_json(data)
        except ValidationError:
            return Holder(token=data.hex(), seconds=self._seconds)  # it runs out as any other

    def _content(self, *, released: bool = False) -> bytes:
        holder = Holder(
            **this_process(),
            token=self._token,
            scratch=self._scratch,
            seconds=self._seconds,
            beat=self._beat,
            released=released,
        )
        return holder.model_dump_json().encode()

    @property
    def lost(self) -> bool:
        """Whether another process was seen to have taken over."""
        return bool(self._lost_to)

    def check(self) -> None:
        """Makes sure that the lease is still this process's.

        Raises:
            LeaseLostError: another process has it.
        """
        self._renew()
        if self._lost_to:
            raise LeaseLostError(
                f"this process was paused or cut off for more than {self._seconds:.0f} s while it made {self._what}, and "
                f"another one has taken over ({self._lost_to}): nothing more is written here; run the stage again to "
                "use what the other one makes"
            )

    def _renew(self) -> None:
        with self._mutex:
            if self._lost_to or self._ended.is_set():
                return
            numbers = self._numbers()
            if (newest := max(numbers, default=-1)) != self.number:
                holder = self._read(newest) if newest > self.number else None
                self._lost_to = str(holder) if holder else "it has ended meanwhile"
                log.warning("the lease on %s is lost to another process (%s)", self._what, self._lost_to)
                return
            self._beat += 1
            self._objects.write(self._name(self.number), self._content())

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            try:
                self._renew()
            except (ArtifactError, ConfigError) as error:  # `check` decides before anything is completed
                log.warning("the lease on %s could not be renewed: %s", self._what, error)
            if self._lost_to:
                return

    def release(self, *, done: bool) -> None:
        """Gives the lease back. ``done``: nothing is left of the work, so nobody needs to know who was last."""
        with self._mutex:
            self._ended.set()
        self._thread.join()
        if self._lost_to:
            return
        try:
            if done:
                self._objects.remove([self._name(self.number)])
            else:
                self._objects.write(self._name(self.number), self._content(released=True))
        except (ArtifactError, ConfigError) as error:
            log.warning("the lease on %s could not be given back and has to run out: %s", self._what, error)


class _Watched:
    """For how long something was seen unchanged; a pause of this very process does not count."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._at = 0.0
        self._seconds = 0.0

    def unchanged_for(self, value: Any) -> float:
        now = time.monotonic()
        self._seconds = self._seconds + min(now - self._at, 2.0) if value == self._seen else 0.0
        self._seen, self._at = value, now
        return self._seconds
