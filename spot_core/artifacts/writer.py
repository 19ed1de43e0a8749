"""Writes one artifact: rows through a journal, parts in Parquet, the manifest last."""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.artifacts import schemas
from spot_core.artifacts.journal import Journal
from spot_core.artifacts.manifest import Manifest, entry_for, write_atomically, write_manifest
from spot_core.artifacts.packages import installed_versions
from spot_core.artifacts.recipe import Recipe, canonical_json
from spot_core.errors import ArtifactError

log = logging.getLogger(__name__)

ROWS_PER_PART = 50_000
_ROWS_PER_GROUP = 5_000
_WORK = ".work"  # journals, logs and training state; gone once the manifest is there


class ArtifactWriter:
    """The unfinished artifact of one recipe. Obtained from `ArtifactStore.write`, which sees to it that there is one.

    Attributes:
        folder: where the artifact will be.
        work: scratch folder below it that survives a crash and is removed on completion.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, generation: int) -> None:
        self.folder = folder
        self.recipe = recipe
        self.generation = generation
        self.work = folder / _WORK
        self.work.mkdir(parents=True, exist_ok=True)
        write_atomically(self.work / "recipe.json", canonical_json({**recipe.__dict__, "key": recipe.key}))
        self._started = time.monotonic()
        self._journals: list[Journal] = []

    def journal(self, name: str = "rows") -> Journal:
        """Opens (or goes on with) the named journal of this artifact."""
        journal = Journal(self.work / f"{name}.jsonl")
        self._journals.append(journal)
        return journal

    def close(self) -> None:
        """Closes open journals; what they hold stays."""
        for journal in self._journals:
            journal.close()

    def complete(
        self,
        rows: Iterable[dict[str, Any]],
        *,
        statistics: dict[str, Any],
        files: Iterable[Path] = (),
    ) -> "Manifest":
        """Writes the rows as Parquet parts, hashes everything, and seals the artifact with its manifest.

        Args:
            rows: final rows, already in the order of their primary key; consumed as a stream.
            statistics: JSON-ready figures for the manifest.
            files: further files below ``folder`` that belong to the artifact; folders are taken whole.

        Raises:
            ArtifactError: a row does not fit the stage's schema.
        """
        self.close()
        schema = schemas.BY_STAGE[self.recipe.stage]
        for stale in self.folder.glob("part-*.parquet"):
            stale.unlink()
        parts = [
            entry_for(self.folder, path, rows=count)
            for path, count in _write_parts(self.folder, rows, schema, stage=self.recipe.stage)
        ]
        extra = [entry_for(self.folder, path) for path in _expand(files)]
        manifest = Manifest(
            stage=self.recipe.stage,
            key=self.recipe.key,
            generation=self.generation,
            settings=self.recipe.settings,
            inputs=self.recipe.inputs,
            code_version=self.recipe.code_version,
            digest=Manifest.digest_of(parts, extra),
            rows=sum(part.rows or 0 for part in parts),
            parts=parts,
            files=extra,
            schema_version=schemas.SCHEMA_VERSION,
            packages=installed_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._started, 3),
            statistics=statistics,
        )
        write_manifest(self.folder, manifest)
        shutil.rmtree(self.work)
        log.info("%s/%s complete: %d rows in %s", manifest.stage, manifest.key, manifest.rows, self.folder)
        return manifest


def _expand(files: Iterable[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        else:
            yield path


def _write_parts(
    folder: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema, *, stage: str
) -> Iterator[tuple[Path, int]]:
    """Yields path and row count of each part; an artifact without rows has one empty part."""
    stream = iter(rows)
    number = 0
    while True:
        part = list(islice(stream, ROWS_PER_PART))
        if not part and number:
            return
        path = folder / f"part-{number:05d}.parquet"
        write_parquet(path, part, schema, what=stage)
        yield path, len(part)
        number += 1


def write_parquet(path: Path, rows: list[dict[str, Any]], schema: pa.Schema, *, what: str) -> None:
    """Writes rows under an explicit schema, refusing what does not fit it, and flushes them to the disk.

    Raises:
        ArtifactError: a row lacks a column, has one too many, or a value of the wrong type.
    """
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:
            wrong = sorted(names ^ row.keys())
            raise ArtifactError(
                f"a row of {what} does not fit the contract; missing or unknown columns: {wrong}"
            )
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError) as error:
        raise ArtifactError(f"a row of {what} does not fit the contract: {error}") from error
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ArtifactError(f"a row of {what} has no value in column {field.name!r}, which needs one")
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", row_group_size=_ROWS_PER_GROUP)
        file.flush()
        os.fsync(file.fileno())
