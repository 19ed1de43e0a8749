"""Raw Oracle replies, kept under the hash of their request: what was paid for is never asked twice."""

import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spot_core.artifacts.journal import Journal, record_at, scan_journal

_SYNC_SECONDS = 1.0
"""How much a power cut may lose; a process that is killed loses nothing."""


class ReplyJournal:
    """Replies of all runs of a store; each process appends to a journal of its own, so none waits for another.

    Memory holds where each reply lies, not the reply.

    Args:
        folder: where the journals are.
        writer: whose calls these are, e.g. an artifact's key and generation; several attempts share it.

    Attributes:
        own: replies to calls of this writer, over all its attempts, by Oracle.
        lost: its calls of which nothing is known, since their process was killed before the reply came, by Oracle.
    """

    def __init__(self, folder: Path, *, writer: str) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self.own: defaultdict[str, list[str]] = defaultdict(list)
        self.lost: Counter[str] = Counter()
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path, own=path.name.startswith(f"{writer}-"))
        self._path = folder / f"{writer}-{time.time_ns():x}-{os.getpid()}.jsonl"
        self._journal: Journal | None = None
        self._synced = time.monotonic()

    def _read(self, path: Path, *, own: bool) -> None:
        open_calls: dict[str, str] = {}
        for offset, record in scan_journal(path):
            match record:
                case {"asked": request_hash, "by": oracle}:
                    open_calls[request_hash] = oracle
                case {"failed": request_hash}:
                    open_calls.pop(request_hash, None)
                case {"request": request_hash, "by": oracle, "reply": _}:
                    open_calls.pop(request_hash, None)
                    self._places[request_hash] = (path, offset)
                    if own:
                        self.own[oracle].append(request_hash)
        if own:
            self.lost.update(open_calls.values())

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply that was given to this very request, if any."""
        place = self._places.get(request_hash)
        return None if place is None else record_at(*place)["reply"]

    def __contains__(self, request_hash: str) -> bool:
        return request_hash in self._places

    def asked(self, request_hash: str, *, by: str) -> None:
        """Notes that a call is about to be made."""
        self._append({"asked": request_hash, "by": by})

    def put(self, request_hash: str, reply: dict[str, Any], *, by: str) -> None:
        """Keeps a reply before anybody parses it; it survives kill -9 when this returns, a power cut a second later."""
        offset = self._append({"request": request_hash, "by": by, "reply": reply})
        self._places[request_hash] = (self._path, offset)
        self.own[by].append(request_hash)

    def failed(self, request_hash: str) -> None:
        """Notes that a call ended without a reply."""
        self._append({"failed": request_hash})

    def _append(self, record: dict[str, Any]) -> int:
        if self._journal is None:
            self._journal = Journal(self._path)
        offset = self._journal.append(record)
        if (now := time.monotonic()) - self._synced > _SYNC_SECONDS:
            self._journal.sync()
            self._synced = now
        return offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()
