"""How a stage says how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with rows (or steps) done and in all; cheap enough for every row."""

    def __call__(self, done: int, total: int) -> None: ...


def silent(done: int, total: int) -> None:
    """For callers that do not watch."""
