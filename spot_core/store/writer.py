"""Writes one artifact: rows through a journal, parts in Parquet of equal size, the manifest last."""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.errors import ArtifactError
from spot_core.store import schemas
from spot_core.store.backend import Seal
from spot_core.store.journal import Journal
from spot_core.store.manifest import (
    Manifest,
    Recipe,
    canonical_json,
    entry_for,
    installed_versions,
    write_atomically,
)

log = logging.getLogger(__name__)


def regrouped(batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly ``rows``, the last one shorter; no table for no rows.

    Each table is contiguous in memory, so that what is written from it depends on its rows alone.
    """
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + rest.num_rows >= rows:
            yield _joined([*held, rest.slice(0, rows - count)], schema)
            rest = rest.slice(rows - count)
            held, count = [], 0
        if rest.num_rows:
            held.append(rest)
            count += rest.num_rows
    if held:
        yield _joined(held, schema)


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, schema).combine_chunks()


ROWS_PER_PART = 50_000
ROWS_PER_GROUP = 5_000
"""Rows of a Parquet row group, and so held in memory at once; divides `ROWS_PER_PART`."""
_WORK = ".work"  # journals, logs and training state; gone once the manifest is there


class ArtifactWriter:
    """The unfinished artifact of one recipe. Obtained from `ArtifactStore.write`, which sees to it that there is one.

    Attributes:
        folder: where the artifact will be.
        work: scratch folder below it that survives a crash and is removed on completion.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, generation: int, seal: Seal) -> None:
        self.folder = folder
        self._seal = seal
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

        Returns:
            What is in the store now: if the right to write was lost and another process has completed the artifact
            meanwhile, that one's.

        Raises:
            ArtifactError: a row does not fit the stage's schema, or the right to write was lost and nobody has
                completed it yet.
        """
        schema = schemas.BY_STAGE[self.recipe.stage]
        batches = _batches_of(rows, schema, what=self.recipe.stage)
        return self.complete_batches(batches, statistics=statistics, files=files)

    def complete_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        statistics: dict[str, Any],
        files: Iterable[Path] = (),
    ) -> "Manifest":
        """Like `complete`, for rows that are in Arrow's memory and need not become Python objects.

        The parts depend on the rows alone, not on how many came in a batch.
        """
        self.close()
        schema = schemas.BY_STAGE[self.recipe.stage]
        for stale in self.folder.glob("part-*.parquet"):
            stale.unlink()
        parts = [
            entry_for(self.folder, path, rows=count)
            for path, count in write_parts(self.folder, batches, schema, what=self.recipe.stage)
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
        manifest = self._seal(self.folder, manifest)
        shutil.rmtree(self.work)
        log.info("%s/%s complete: %d rows in %s", manifest.stage, manifest.key, manifest.rows, self.folder)
        return manifest


def _expand(files: Iterable[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        else:
            yield path


def _batches_of(rows: Iterable[dict[str, Any]], schema: pa.Schema, *, what: str) -> Iterator[pa.RecordBatch]:
    """The rows under an explicit schema, which has to name exactly their columns."""
    names = set(schema.names)
    stream = iter(rows)
    while group := list(islice(stream, ROWS_PER_GROUP)):
        for row in group:
            if row.keys() != names:
                wrong = sorted(names ^ row.keys())
                raise ArtifactError(
                    f"a row of {what} does not fit the contract; missing or unknown columns: {wrong}"
                )
        try:
            table = pa.Table.from_pylist(group, schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError) as error:
            raise ArtifactError(f"a row of {what} does not fit the contract: {error}") from error
        yield from table.to_batches()


def _checked(batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, what: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if not batch.schema.equals(schema):
            raise ArtifactError(
                f"rows of {what} do not fit the contract: they have\n{batch.schema}\nand need\n{schema}"
            )
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ArtifactError(f"a row of {what} does not fit the contract: {error}") from error
        for field in schema:
            if not field.nullable and batch.column(field.name).null_count:
                raise ArtifactError(f"a row of {what} has no value in column {field.name!r}, which needs one")
        yield batch


def write_parts(
    folder: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, what: str, stem: str = "part"
) -> Iterator[tuple[Path, int]]:
    """Writes ``<stem>-00000.parquet`` and so on; yields path and row count of each, one empty part for no rows.

    Raises:
        ArtifactError: a batch does not fit the schema.
    """
    groups = regrouped(_checked(batches, schema, what=what), schema, rows=ROWS_PER_GROUP)
    first = next(groups, schema.empty_table())
    number = 0
    while first is not None:
        path = folder / f"{stem}-{number:05d}.parquet"
        yield path, _write(path, chain([first], islice(groups, ROWS_PER_PART // ROWS_PER_GROUP - 1)), schema)
        first = next(groups, None)
        number += 1


def _write(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Writes one row group each, flushes them to the disk, and returns how many rows they were."""
    rows = 0
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in groups:
                writer.write_table(group, row_group_size=ROWS_PER_GROUP)
                rows += group.num_rows
        file.flush()
        os.fsync(file.fileno())
    return rows


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema, *, what: str) -> None:
    """Writes one file of rows under an explicit schema, refusing what does not fit it.

    Raises:
        ArtifactError: a row lacks a column, has one too many, or a value of the wrong type.
    """
    checked = _checked(_batches_of(rows, schema, what=what), schema, what=what)
    groups = regrouped(checked, schema, rows=ROWS_PER_GROUP)
    _write(path, chain([next(groups, schema.empty_table())], groups), schema)
