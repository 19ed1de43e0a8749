"""Raw Oracle replies, kept under the hash of their request: what was paid for is never asked twice."""

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from spot_core.store.journal import Journal, is_held, record_at, scan_journal

_SYNC_SECONDS = 1.0  # between two waits for the disk

Tokens = tuple[int, int]
"""Read and written."""


class _Call(NamedTuple):
    by: str
    worst: Tokens


class ReplyJournal:
    """Replies of all runs of a store, those that are at work at the same time among them.

    Each process appends to a journal of its own, which it holds while it lives, and reads those of the others. Memory
    keeps where each reply lies, not the reply.

    Args:
        folder: where the journals are.
        writer: whose calls these are, e.g. an artifact's key and generation; several attempts share it.

    Attributes:
        own: replies to calls of this writer, over all its attempts, by Oracle: the request's hash, and the most tokens
            that the call could take.
        lost: its calls of which nothing is known, since their process was killed before the reply came, by Oracle: the
            most tokens that each could take.
    """

    def __init__(self, folder: Path, *, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writer = f"{writer}-"
        self._path = folder / f"{writer}-{time.time_ns():x}-{os.getpid()}.jsonl"
        self._journal: Journal | None = None
        self._synced = time.monotonic()
        self._places: dict[str, tuple[Path, int]] = {}
        self._seen: set[str] = set()
        self._read_to: dict[Path, int] = {}
        self._others: dict[Path, dict[str, _Call]] = {}  # journals that may grow: their calls without an end
        self._calls: dict[str, _Call] = {}  # the same of this one
        self.own: defaultdict[str, list[tuple[str, Tokens]]] = defaultdict(list)
        self.lost: defaultdict[str, list[Tokens]] = defaultdict(list)
        with self._alone():
            self._catch_up()

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply that was given to this very request, if any."""
        place = self._places.get(request_hash)
        return None if place is None else record_at(*place)["reply"]

    def __contains__(self, request_hash: str) -> bool:
        """Whether a reply was given to this very request."""
        return request_hash in self._places

    def claim(self, request_hash: str, *, by: str, worst: Tokens) -> bool:
        """Notes that an Oracle is about to make a call, and returns True.

        False if that is not to be done: there is a reply meanwhile, or another process is making this very call.
        """
        with self._alone():
            self._catch_up()
            if request_hash in self._places or any(request_hash in calls for calls in self._others.values()):
                return False
            self._append({"asked": request_hash, "by": by, "worst": worst})
        self._calls[request_hash] = _Call(by, worst)
        return True

    def put(self, request_hash: str, reply: dict[str, Any]) -> None:
        """Keeps the reply to a call that was claimed, before anybody parses it; when this returns it survives kill -9.

        The disk is waited for about once a second while calls go on: a power cut may lose the last of them.
        """
        start = self._append({"request": request_hash, "reply": reply})
        self._places[request_hash] = (self._path, start)
        call = self._calls.pop(request_hash)
        self.own[call.by].append((request_hash, call.worst))

    def failed(self, request_hash: str) -> None:
        """Notes that a call that was claimed ended without a reply."""
        self._append({"failed": request_hash})
        self._calls.pop(request_hash, None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Between looking for a claim and making one no other process does the same."""
        with (self._folder / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _catch_up(self) -> None:
        """Reads what the others have written since."""
        for name in os.listdir(self._folder):  # noqa: PTH208 - done for every call, so names and not paths
            if name not in self._seen:
                self._seen.add(name)
                if name.endswith(".jsonl") and name != self._path.name:
                    self._others[self._folder / name] = {}
        for path, calls in list(self._others.items()):
            alive = is_held(path)  # asked first: what a writer says before it ends is read below
            self._read(path, calls)
            if not alive:
                del self._others[path]
                for call in calls.values() if path.name.startswith(self._writer) else ():
                    self.lost[call.by].append(call.worst)

    def _read(self, path: Path, calls: dict[str, "_Call"]) -> None:
        own = path.name.startswith(self._writer)
        for start, end, record in scan_journal(path, start=self._read_to.setdefault(path, 0)):
            match record:
                case {"asked": request_hash, "by": oracle, "worst": worst}:
                    calls[request_hash] = _Call(oracle, tuple(worst))
                case {"failed": request_hash}:
                    calls.pop(request_hash, None)
                case {"request": request_hash, "reply": _}:
                    call = calls.pop(request_hash)
                    self._places[request_hash] = (path, start)
                    if own:
                        self.own[call.by].append((request_hash, call.worst))
            self._read_to[path] = end

    def _append(self, record: dict[str, Any]) -> int:
        if self._journal is None:
            self._journal = Journal(self._path)
            self._journal.hold()
        start = self._journal.append(record)
        if (now := time.monotonic()) - self._synced > _SYNC_SECONDS:
            self._journal.sync()
            self._synced = now
        return start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()
