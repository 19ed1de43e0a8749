"""What a place to keep artifacts has to offer; the store is the same whichever it is."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from spot_core.store.artifact import Artifact
from spot_core.store.manifest import Manifest, Recipe

Seal = Callable[[Path, Manifest], Manifest]
"""Makes the files that a manifest names an artifact, for good. Returns the manifest that counts: another one if
somebody else has completed the artifact meanwhile, whose work then is taken and ours dropped."""


class Found(NamedTuple):
    """A generation that was completed: the artifact, or what is wrong with it."""

    generation: int
    artifact: Artifact | None
    problem: str = ""
    revision: int = 0
    """In an object store: how often it was found damaged before."""


class Stored(NamedTuple):
    """A file of the store."""

    bytes: int
    modified: float
    """Seconds since 1970."""


class Backend(Protocol):
    """A folder, or a bucket with a scratch folder on this machine."""

    root: Path
    """Folder on this machine where work is done and artifacts are read."""

    def completed(self, stage: str, key: str, wanted: Callable[[int], bool]) -> Iterator[Found]:
        """Generations of an artifact that have a manifest, newest first."""

    def manifest(self, stage: str, key: str, generation: int) -> Manifest | None:
        """What a completed artifact says of itself, without a look at its files; None if there is none."""

    def lease(self, stage: str, key: str) -> AbstractContextManager["Held"]:
        """The right to write an artifact; waits, saying so, while somebody else has it."""

    def try_lease(self, stage: str, key: str, *, dead: Any = None) -> AbstractContextManager["Held | None"]:
        """The same without waiting: None if somebody else has it; one known to be ``dead`` is nobody."""

    def dead_holders(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """Who holds these (stage and key) and gives no sign of life, for `try_lease`; may watch them for a while."""

    def read_document(self, name: str) -> str | None:
        """A small text that changes, such as ``runs/x/run.json``; None if there is none."""

    def update_document(self, name: str, change: Callable[[str | None], str]) -> str:
        """Puts ``change(what is there)`` in its place and returns it; of two updates at once none is lost.

        ``change`` may be called more than once.
        """

    def write_document(self, name: str, text: str) -> None:
        """Puts a text in the place of what is there: for what one process writes, over and over."""

    def runs(self) -> list[str]:
        """Names of the runs, the one that changed last first."""

    def publish(self, path: Path) -> None:
        """Gives a file, or all files of a folder, to everybody who uses the store."""

    def shared_journals(self, folder: str) -> AbstractContextManager[Path]:
        """A folder of append-only ``.jsonl`` files, each written by one process, that outlives this machine."""

    def inventory(self, folder: str = "") -> dict[str, Stored]:
        """Every file below a folder by its name in the store."""

    def attempt(self, stage: str, key: str, generation: int) -> str | None:
        """In which folder the files of a complete artifact are, where several processes may have uploaded some."""


class Held(Protocol):
    """The right to write below one ``<stage>/<key>``, while it is held."""

    def set_aside(self, damaged: Found) -> str:
        """Takes what was found damaged, and nothing that was completed since, out of the way; returns its new name."""

    def making(self, recipe: Recipe, generation: int) -> AbstractContextManager[tuple[Path, Seal]]:
        """The folder in which an artifact is made, with what an earlier attempt left there, and what seals it."""

    def remove(self, names: list[str]) -> None:
        """Removes files of the store below this key, manifests first."""
