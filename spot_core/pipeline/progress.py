"""How a stage says how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with rows (or steps) done and in all; cheap enough for every row.

    ``note`` says how it goes, in a few words; a stage that waits says for what, with 0 of 0.
    """

    def __call__(self, done: int, total: int, *, note: str = "") -> None: ...


def silent(done: int, total: int, *, note: str = "") -> None:
    """For callers that do not watch."""
