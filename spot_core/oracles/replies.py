"""Raw Oracle replies, kept under the hash of their request: what was paid for is never asked twice."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spot_core.artifacts.journal import Journal, read_journal


class ReplyJournal:
    """Replies of all runs of a store; each process appends to a journal of its own, so none waits for another."""

    def __init__(self, folder: Path, *, writer: str) -> None:
        self._replies: dict[str, dict[str, Any]] = {}
        for path in sorted(folder.glob("*.jsonl")):
            self._replies.update((record["request"], record["reply"]) for record in read_journal(path))
        self._path = folder / f"{writer}-{time.time_ns():x}-{os.getpid()}.jsonl"
        self._journal: Journal | None = None

    @classmethod
    def open(cls, folder: Path, *, writer: str) -> Self:
        """Reads every journal of ``folder``; its own is made with the first reply."""
        return cls(folder, writer=writer)

    def get(self, request_hash: str) -> dict[str, Any] | None:
        """The reply that was given to this very request, if any."""
        return self._replies.get(request_hash)

    def put(self, request_hash: str, reply: dict[str, Any]) -> None:
        """Keeps a reply; durable when this returns, before anybody parses it."""
        if self._journal is None:
            self._journal = Journal(self._path)
        self._journal.append({"request": request_hash, "reply": reply})
        self._journal.sync()
        self._replies[request_hash] = reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()
