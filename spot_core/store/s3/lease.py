"""The right to write one artifact of an object store: it expires, and whoever lost it cannot do harm.

The holder of a lease writes an object again every few seconds. Others take it over once they have seen the same content
for as long as the lease lasts, by their own clock; they create the object of the next number, and only one of them can.
The object of the last holder stays: a number that was given is never given again, so that whoever had it before and was
paused since cannot take what is another's for its own.
"""

import logging
import re
import threading
import time
import uuid
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from spot_core.errors import ArtifactError, ConfigError
from spot_core.store.local import Reminder, described, this_process
from spot_core.store.s3.objects import Objects

log = logging.getLogger(__name__)

_RENEWALS = 6
"""In the time that a lease lasts."""
_NUMBER = re.compile(r"/(\d+)\.json$")
_LOOKS_AT_ONCE = 16
_LOOK_SECONDS = 1.0


Name = TypeVar("Name", bound=Hashable)


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


class Seen(NamedTuple):
    """A lease as it was at one moment: any sign of life of its holder changes it."""

    number: int
    holder: Holder


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

    def acquire(self, *, wait: bool = True, dead: Seen | None = None) -> bool:
        """Takes the lease and keeps it until `release`; False if it is somebody else's and we are not to wait.

        ``dead`` is what `without_life` returned: one who gave no sign of life since is not waited for.
        """
        reminder, watched = Reminder(self._what), _Watched()
        while True:
            seen = self.seen()
            holder = seen.holder
            if self._is_free(holder) or seen == dead or watched.unchanged_for(seen) > holder.seconds:
                if self._take(seen.number + 1):
                    break
                continue
            if not wait:
                return False
            reminder.waits_for(str(holder))
            time.sleep(self._pause)
        self._thread.start()
        return True

    def seen(self) -> Seen:
        """Who holds it, or did last."""
        while True:
            newest = max(self._numbers(), default=-1)
            if newest < 0:
                return Seen(newest, Holder(token="", seconds=0.0, released=True))
            if (holder := self._read(newest)) is not None:  # else taken over between the two requests
                return Seen(newest, holder)

    def _take(self, number: int) -> bool:
        """Creates the object of a number, unless somebody did; also one who has made way for later holders since."""
        if not self._objects.create(self._name(number), self._content()):
            return False
        numbers = self._numbers()
        if max(numbers, default=-1) != number:
            return False
        self.number = number
        self._objects.remove(self._name(earlier) for earlier in numbers if earlier < number)
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

    def release(self) -> None:
        """Gives the lease back."""
        with self._mutex:
            self._ended.set()
        self._thread.join()
        if self._lost_to:
            return
        try:
            self._objects.write(self._name(self.number), self._content(released=True))
        except (ArtifactError, ConfigError) as error:
            log.warning("the lease on %s could not be given back and has to run out: %s", self._what, error)


def without_life(leases: Mapping[Name, RemoteLease]) -> dict[Name, Seen]:
    """Those leases whose holders gave no sign of life for as long as theirs last; all are watched at the same time."""
    silent: dict[Name, Seen] = {}
    watched: dict[Name, _Watched] = {}
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:

        def look(names: Iterable[Name]) -> list[tuple[Name, Seen]]:
            names = list(names)
            return list(zip(names, pool.map(lambda name: leases[name].seen(), names), strict=True))

        for name, seen in look(leases):
            if not seen.holder.released:
                watched[name] = _Watched(seen)
        while watched:
            time.sleep(_LOOK_SECONDS)
            for name, seen in look(watched):
                unchanged = watched[name].unchanged_for(seen)
                if unchanged > seen.holder.seconds:
                    silent[name] = seen
                if name in silent or not unchanged:
                    del watched[name]
    return silent


class _Watched:
    """For how long something was seen unchanged; a pause of this very process, or of the store, does not count."""

    def __init__(self, seen: Seen | None = None) -> None:
        self._seen = seen
        self._at = time.monotonic()
        self._seconds = 0.0

    def unchanged_for(self, seen: Seen) -> float:
        now = time.monotonic()
        self._seconds = self._seconds + min(now - self._at, 2.0) if seen == self._seen else 0.0
        self._seen, self._at = seen, now
        return self._seconds
