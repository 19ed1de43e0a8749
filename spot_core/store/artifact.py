"""A complete artifact: its manifest, its rows, and the files beside them."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.errors import ArtifactError
from spot_core.store.manifest import FileEntry, Manifest

Fetch = Callable[[list[FileEntry]], None]
"""Sees to it that these files are in the artifact's folder, every byte as it was written."""

_FEW_ROWS = 256
"""Rows decoded at once where single ones are wanted: their texts may be long."""


class Artifact:
    """A complete artifact; reading it never changes it.

    Args:
        folder: where its files are, or come to when they are wanted.
        manifest: what it holds.
        fetch: brings files from where the store keeps them; unset: they are there.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, fetch: Fetch = lambda entries: None) -> None:
        self.folder = folder
        self.manifest = manifest
        self._fetch = fetch

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
        """Parquet parts in order of their rows.

        Raises:
            ArtifactError: one of them is lost or was changed.
        """
        self._fetch(self.manifest.parts)
        return [self.folder / part.path for part in self.manifest.parts]

    def file(self, name: str) -> Path:
        """Path of a file or folder kept beside the parts, such as ``checkpoint``.

        Raises:
            ArtifactError: there is none, or one of its files is lost or was changed.
        """
        self._fetch([entry for entry in self.manifest.files if f"{entry.path}/".startswith(f"{name}/")])
        path = self.folder / name
        if not path.exists():
            raise ArtifactError(f"{self.folder} has no {name}")
        return path

    def hashes(self, name: str) -> dict[str, str]:
        """SHA-256 of every file in a folder kept beside the parts, by its path in it; nothing is fetched for it."""
        return {
            entry.path.removeprefix(f"{name}/"): entry.sha256
            for entry in self.manifest.files
            if entry.path.startswith(f"{name}/")
        }

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
