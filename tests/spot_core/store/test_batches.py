"""Rows in Arrow's memory become the same artifact as rows in dictionaries, however they are cut."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.errors import ArtifactError
from spot_core.store import Artifact, ArtifactStore, Recipe, schemas
from spot_core.store.writer import ROWS_PER_GROUP, ROWS_PER_PART, regrouped
from tests.spot_core.store.test_artifact_store import make, row

SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("text", pa.string())])


def numbered(count: int) -> pa.Table:
    return pa.table({"n": range(count), "text": [str(n) * (n % 7) for n in range(count)]}, schema=SCHEMA)


def completed(root, batches, stage: str = "questions") -> Artifact:
    recipe = Recipe(stage, {"kind": "batches"}, {}, 1)
    with ArtifactStore(root).write(recipe) as writer:
        writer.complete_batches(batches, statistics={})
    return ArtifactStore(root).get(recipe)


@given(sizes=st.lists(st.integers(0, 40), max_size=8), rows=st.integers(1, 25))
def test_regrouped_rows_are_the_same_in_tables_of_one_size(sizes, rows):
    table = numbered(sum(sizes))
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    pieces = [table.slice(a, n).combine_chunks().to_batches() for a, n in zip(starts, sizes, strict=True)]
    groups = list(regrouped((batch for piece in pieces for batch in piece), SCHEMA, rows=rows))
    assert [group.num_rows for group in groups[:-1]] == [rows] * (len(groups) - 1)
    assert all(column.num_chunks == 1 for group in groups for column in group.columns)
    assert pa.concat_tables([SCHEMA.empty_table(), *groups]).equals(table)


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, 7),
        (1, 7),
        (ROWS_PER_GROUP, 7),
        (ROWS_PER_GROUP, ROWS_PER_GROUP),
        (ROWS_PER_PART + 5, 1024),
        (ROWS_PER_PART + 5, ROWS_PER_GROUP),
        (ROWS_PER_PART + 5, ROWS_PER_PART + 1),
    ],
)
def test_parts_have_the_bytes_of_rows_written_as_dictionaries(tmp_path, count, size):
    rows = make(ArtifactStore(tmp_path / "rows"), count)
    table = pa.Table.from_pylist([row(n) for n in range(count)], schema=schemas.QUESTIONS)
    batches = completed(tmp_path / "batches", table.to_batches(max_chunksize=size))
    assert batches.digest == rows.digest
    assert [part.rows for part in batches.manifest.parts] == [part.rows for part in rows.manifest.parts]


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (pa.RecordBatch.from_pylist([{"question": "x"}]), "they have"),
        (pa.RecordBatch.from_pylist([row(0) | {"question": None}], schema=schemas.QUESTIONS), "'question'"),
        (
            pa.RecordBatch.from_arrays(
                [
                    pa.Array.from_buffers(
                        pa.string(),
                        1,
                        [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")],
                    )
                ]
                * len(schemas.QUESTIONS),
                schema=schemas.QUESTIONS,
            ),
            "UTF8",
        ),
    ],
)
def test_batches_that_do_not_fit_the_schema_are_refused(tmp_path, batch, said):
    with pytest.raises(ArtifactError, match=said):
        completed(tmp_path, [batch])


def test_single_rows_are_found_by_their_place(tmp_path):
    artifact = make(ArtifactStore(tmp_path), ROWS_PER_PART + 300)
    places = [ROWS_PER_PART + 299, 0, 255, 256, ROWS_PER_GROUP, ROWS_PER_GROUP - 1, ROWS_PER_PART]
    assert artifact.rows_at(places, columns=["question"]) == {
        place: {"question": f"What is {place}?"} for place in places
    }
    assert artifact.rows_at([]) == {}
