"""The artifact store: finds complete artifacts by recipe and hands out writers for missing ones."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.artifacts.hashing import file_sha256
from spot_core.artifacts.lease import lease
from spot_core.artifacts.manifest import FileEntry, Manifest, read_manifest, write_atomically
from spot_core.artifacts.packages import warn_about_differences
from spot_core.artifacts.recipe import Recipe
from spot_core.artifacts.writer import ArtifactWriter
from spot_core.errors import ArtifactError, ConfigError

log = logging.getLogger(__name__)

_FEW_ROWS = 256
"""Rows decoded at once where single ones are wanted: their texts may be long."""


class Artifact:
    """A complete artifact; reading it never changes it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def key(self) -> str:
        return self.manifest.key

    @property
    def generation(self) -> int:
        return self.manifest.generation

    @property
    def digest(self) -> str:
        """Content digest: equal for equal bytes, whatever recipe made them."""
        return self.manifest.digest

    @property
    def rows(self) -> int:
        return self.manifest.rows

    @property
    def statistics(self) -> dict[str, Any]:
        return self.manifest.statistics

    @cached_property
    def parts(self) -> list[Path]:
        """Parquet parts in order of their rows."""
        return [self.folder / part.path for part in self.manifest.parts]

    def file(self, name: str) -> Path:
        """Path of a file or folder kept beside the parts, such as ``checkpoint``."""
        path = self.folder / name
        if not path.exists():
            raise ArtifactError(f"{self.folder} has no {name}")
        return path

    def batches(self, *, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """Streams the rows in order, at most ``rows`` at a time."""
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                yield from file.iter_batches(batch_size=rows, columns=columns)

    def rows_as_dicts(self, *, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Streams the rows in order as dictionaries."""
        for batch in self.batches(columns=columns):
            yield from batch.to_pylist()

    def rows_at(
        self, numbers: Iterable[int], *, columns: list[str] | None = None
    ) -> dict[int, dict[str, Any]]:
        """Single rows by their place in the artifact, counted from 0; reads the row groups they are in and no others."""
        wanted = sorted(set(numbers), reverse=True)
        found: dict[int, dict[str, Any]] = {}
        start = 0
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    end = start + file.metadata.row_group(group).num_rows
                    if wanted and wanted[-1] < end:
                        for batch in file.iter_batches(_FEW_ROWS, row_groups=[group], columns=columns):
                            while wanted and wanted[-1] < start + batch.num_rows:
                                row = batch.slice(wanted[-1] - start, 1)
                                found[wanted.pop()] = row.to_pylist()[0]
                            start += batch.num_rows
                    start = end
        assert not wanted, f"{self!r} has no rows {wanted}"
        return found

    def table(self, *, columns: list[str] | None = None) -> pa.Table:
        """The whole artifact in memory."""
        return pa.concat_tables([pq.read_table(part, columns=columns) for part in self.parts])

    def __repr__(self) -> str:
        return f"Artifact({self.stage}/{self.key}/{self.generation}, {self.rows} rows)"


class ArtifactStore:
    """Artifacts below one folder, ``<store>/<stage>/<key>/<generation>``.

    Raises:
        ConfigError: the location is not a folder on a file system of this machine.
    """

    def __init__(self, location: str | Path) -> None:
        text = str(location)
        if "://" in text and not text.startswith("file://"):
            raise ConfigError(
                f"store = {text!r}: only folders are supported, e.g. './artifacts' or '/mnt/spot'"
            )
        self.root = Path(text.removeprefix("file://")).expanduser().resolve()
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"store = {text!r} is a file, not a folder")
        self._verified: dict[tuple[Path, int, int], str] = {}  # SHA-256 by path, size and modification time
        self._compared: set[Path] = set()  # artifacts whose package versions were looked at

    def folder(self, recipe: Recipe, generation: int) -> Path:
        return self.root / recipe.stage / recipe.key / str(generation)

    def _generations(self, recipe: Recipe) -> list[int]:
        """Numbers of all generations, complete or not, newest first."""
        parent = self.root / recipe.stage / recipe.key
        if not parent.is_dir():
            return []
        return sorted((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), reverse=True)

    def _file_is_whole(self, folder: Path, entry: FileEntry) -> bool:
        path = folder / entry.path
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if status.st_size != entry.bytes:
            return False
        seen = (path, status.st_size, status.st_mtime_ns)
        if seen not in self._verified:
            self._verified[seen] = file_sha256(path)
        return self._verified[seen] == entry.sha256

    def damage(self, folder: Path) -> str | None:
        """Says what is wrong with a folder that has a manifest, or None if every byte is as it was written."""
        try:
            manifest = read_manifest(folder)
        except ArtifactError as error:
            return str(error)
        assert manifest is not None, f"{folder} has no manifest"
        for entry in [*manifest.parts, *manifest.files]:
            if not self._file_is_whole(folder, entry):
                return f"{folder / entry.path} is missing or does not match its hash"
        return None

    def find(self, recipe: Recipe, *, at_least: int = 0) -> Artifact | None:
        """Returns the newest complete and undamaged artifact of a recipe, or None.

        Args:
            recipe: what the artifact must have been made from.
            at_least: lowest generation to accept; a refresh asks for one that is not there yet.
        """
        for generation in self._generations(recipe):
            folder = self.folder(recipe, generation)
            if generation < at_least or not (folder / "manifest.json").exists():
                continue
            if problem := self.damage(folder):
                log.warning(
                    "artifact %s/%s is damaged and will not be used: %s", recipe.stage, recipe.key, problem
                )
                continue
            manifest = read_manifest(folder)
            assert manifest is not None
            if folder not in self._compared:
                self._compared.add(folder)
                warn_about_differences(f"{recipe.stage}/{recipe.key}", manifest.packages)
            return Artifact(folder, manifest)
        return None

    def get(self, recipe: Recipe, *, at_least: int = 0) -> Artifact:
        """Like `find`, for an artifact that must be there.

        Raises:
            ArtifactError: it is not.
        """
        artifact = self.find(recipe, at_least=at_least)
        if artifact is None:
            raise ArtifactError(
                f"{self.root / recipe.stage / recipe.key} holds no complete artifact: run stage {recipe.stage!r} first"
            )
        return artifact

    def open(self, stage: str, key: str, generation: int) -> Artifact:
        """The artifact of this very generation, as a run recorded it.

        Raises:
            ArtifactError: it is not there any more, incomplete or damaged.
        """
        folder = self.root / stage / key / str(generation)
        manifest = read_manifest(folder)
        if manifest is None:
            raise ArtifactError(f"{folder} is no complete artifact any more: run stage {stage!r} again")
        if problem := self.damage(folder):
            raise ArtifactError(f"artifact {stage}/{key} is damaged ({problem}): run stage {stage!r} again")
        return Artifact(folder, manifest)

    def next_generation(self, recipe: Recipe) -> int:
        """The generation that a refresh of this recipe writes: one above the newest complete one."""
        newest = self.find(recipe)
        return 0 if newest is None else newest.generation + 1

    @contextmanager
    def write(self, recipe: Recipe, *, at_least: int = 0) -> Iterator[ArtifactWriter | Artifact]:
        """Gives the one writer of an artifact, or the artifact if it is complete by the time it is our turn.

        Blocks while another process writes the same key. A folder without a manifest is resumed; a damaged
        artifact is set aside under another name and made again.
        """
        with lease(self.root / recipe.stage / recipe.key, what=f"{recipe.stage}/{recipe.key}"):
            if done := self.find(recipe, at_least=at_least):
                yield done
                return
            folder = self.folder(recipe, at_least)
            if (folder / "manifest.json").exists():
                aside = _unused_name(folder)
                log.warning("%s is damaged: set aside as %s and made again", folder, aside.name)
                folder.rename(aside)
            writer = ArtifactWriter(folder, recipe, generation=at_least)
            try:
                yield writer
            finally:
                writer.close()

    def read_document(self, name: str) -> str | None:
        """A small text that changes, by its name below the store; None if there is none."""
        try:
            return (self.root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def update_document(self, name: str, change: Callable[[str | None], str]) -> str:
        """Puts ``change(what is there)`` in its place and returns it."""
        text = change(self.read_document(name))
        write_atomically(self.root / name, text)
        return text

    def runs(self) -> list[str]:
        """Names of the runs of this store, the one that changed last first."""
        records = self.root.glob("runs/*/run.json")
        newest = sorted(records, key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.parent.name for path in newest]


def _unused_name(folder: Path) -> Path:
    number = 0
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    return aside
