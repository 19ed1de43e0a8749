"""The artifact store: finds complete artifacts by recipe and hands out writers for missing ones."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from spot_core.errors import ArtifactError, ConfigError
from spot_core.store.artifact import Artifact
from spot_core.store.backend import Backend, Found
from spot_core.store.local import LocalBackend
from spot_core.store.manifest import Manifest, Recipe, warn_about_differences
from spot_core.store.writer import ArtifactWriter

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0


class ArtifactStore:
    """Artifacts below one place, ``<store>/<stage>/<key>/<generation>``.

    Args:
        location: a folder, or the URL of an object store, such as ``s3://bucket/folder``.
        lease_seconds: in an object store, how long a writer that gives no sign of life keeps its right to write.

    Attributes:
        location: as it was given.
        root: folder on this machine in which work is done and artifacts are read; of an object store a scratch folder.

    Raises:
        ConfigError: the location cannot be used.
    """

    def __init__(self, location: str | Path, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.location = str(location)
        self.backend = _backend(self.location, lease_seconds)
        self._compared: set[Path] = set()  # artifacts whose package versions were looked at

    @property
    def root(self) -> Path:
        return self.backend.root

    def folder(self, recipe: Recipe, generation: int) -> Path:
        return self.root / recipe.stage / recipe.key / str(generation)

    def damage(self, folder: Path) -> str | None:
        """Says what is wrong with a completed artifact, given its folder below `root`; None if nothing is."""
        stage, key, generation = folder.relative_to(self.root).parts
        found = self._found(stage, key, int(generation))
        assert found is not None, f"{folder} has no manifest"
        return found.problem or None

    def _found(self, stage: str, key: str, generation: int) -> Found | None:
        return next(self.backend.completed(stage, key, lambda number: number == generation), None)

    def find(self, recipe: Recipe, *, at_least: int = 0) -> Artifact | None:
        """Returns the newest complete and undamaged artifact of a recipe, or None.

        Args:
            recipe: what the artifact must have been made from.
            at_least: lowest generation to accept; a refresh asks for one that is not there yet.
        """
        for found in self.backend.completed(recipe.stage, recipe.key, lambda number: number >= at_least):
            if found.artifact is None:
                log.warning(
                    "artifact %s/%s is damaged and will not be used: %s",
                    recipe.stage,
                    recipe.key,
                    found.problem,
                )
                continue
            if found.artifact.folder not in self._compared:
                self._compared.add(found.artifact.folder)
                warn_about_differences(f"{recipe.stage}/{recipe.key}", found.artifact.manifest.packages)
            return found.artifact
        return None

    def get(self, recipe: Recipe, *, at_least: int = 0) -> Artifact:
        """Like `find`, for an artifact that must be there.

        Raises:
            ArtifactError: it is not.
        """
        artifact = self.find(recipe, at_least=at_least)
        if artifact is None:
            raise ArtifactError(
                f"{self.location}/{recipe.stage}/{recipe.key} holds no complete artifact: run stage {recipe.stage!r} "
                "first"
            )
        return artifact

    def open(self, stage: str, key: str, generation: int) -> Artifact:
        """The artifact of this very generation, as a run recorded it.

        Raises:
            ArtifactError: it is not there any more, incomplete or damaged.
        """
        found = self._found(stage, key, generation)
        if found is None:
            raise self._gone(stage, key, generation)
        if found.artifact is None:
            raise ArtifactError(
                f"artifact {stage}/{key} is damaged ({found.problem}): run stage {stage!r} again"
            )
        return found.artifact

    def manifest(self, stage: str, key: str, generation: int) -> Manifest:
        """What the artifact of this very generation says of itself; its files, which may be large, are not looked at.

        Raises:
            ArtifactError: it is not there any more.
        """
        manifest = self.backend.manifest(stage, key, generation)
        if manifest is None:
            raise self._gone(stage, key, generation)
        return manifest

    def _gone(self, stage: str, key: str, generation: int) -> ArtifactError:
        return ArtifactError(
            f"{self.location}/{stage}/{key}/{generation} is no complete artifact any more: run stage {stage!r} again"
        )

    def next_generation(self, recipe: Recipe) -> int:
        """The generation that a refresh of this recipe writes: one above the newest complete one."""
        newest = self.find(recipe)
        return 0 if newest is None else newest.generation + 1

    @contextmanager
    def write(self, recipe: Recipe, *, at_least: int = 0) -> Iterator[ArtifactWriter | Artifact]:
        """Gives the one writer of an artifact, or the artifact if it is complete by the time it is our turn.

        Blocks while another process writes the same key. One without a manifest is resumed; a damaged artifact is set
        aside under another name and made again.

        Raises:
            ConfigError, ArtifactError: an object store cannot be used or reached.
        """
        if done := self.find(recipe, at_least=at_least):
            yield done
            return
        with self.backend.lease(recipe.stage, recipe.key) as held:
            if done := self.find(recipe, at_least=at_least):
                yield done
                return
            if found := self._found(recipe.stage, recipe.key, at_least):
                if found.artifact:  # completed just now: in an object store a lease can be lost at any moment
                    yield found.artifact
                    return
                aside = held.set_aside(found)
                log.warning(
                    "%s is damaged: set aside as %s and made again", self.folder(recipe, at_least), aside
                )
            with held.making(recipe, at_least) as (folder, seal):
                writer = ArtifactWriter(folder, recipe, generation=at_least, seal=seal)
                try:
                    yield writer
                finally:
                    writer.close()

    # --- what is no artifact ---------------------------------------------------------------------------------

    def read_document(self, name: str) -> str | None:
        """A small text that changes, or that was published, by its name below the store; None if there is none."""
        return self.backend.read_document(name)

    def update_document(self, name: str, change: Callable[[str | None], str]) -> str:
        """Puts ``change(what is there)`` in its place and returns it; of two updates at once none is lost.

        ``change`` may be called more than once.
        """
        return self.backend.update_document(name, change)

    def write_document(self, name: str, text: str) -> None:
        """Puts a text in the place of what is there: for what one process writes, over and over."""
        self.backend.write_document(name, text)

    def runs(self) -> list[str]:
        """Names of the runs of this store, the one that changed last first."""
        return self.backend.runs()

    def publish(self, path: Path) -> None:
        """Gives a file below `root`, or a folder of them, to everybody who uses the store; in a folder they have it."""
        self.backend.publish(path)

    def shared_journals(self, folder: str) -> AbstractContextManager[Path]:
        """A folder of append-only ``.jsonl`` files, each written by one process, that outlives this machine.

        In an object store those of other machines are brought here first, and what is added is copied there every few
        seconds and at the end.
        """
        return self.backend.shared_journals(folder)


def _backend(location: str, lease_seconds: float) -> Backend:
    if "://" not in location or location.startswith("file://"):
        root = Path(location.removeprefix("file://")).expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise ConfigError(f"store = {location!r} is a file, not a folder")
        return LocalBackend(root)
    if "@" in location.split("://", maxsplit=1)[1].split("/", maxsplit=1)[0]:
        raise ConfigError(
            "store holds a user name or a key: settings are kept and shown, so give credentials by environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        )
    from spot_core.store.s3.backend import RemoteBackend  # noqa: PLC0415 - most stores are folders
    from spot_core.store.s3.sync import scratch_of  # noqa: PLC0415

    return RemoteBackend(location, scratch_of(location), lease_seconds=lease_seconds)
