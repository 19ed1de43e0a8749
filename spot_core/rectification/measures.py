"""The figures of rectified rows without their texts: what statistics and reports are made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spot_core.store import Artifact, schemas

_COLUMNS = [
    "status",
    "flags",
    "change_ratio",
    "shared_prefix_tokens",
    "edit_regions",
    "attempts",
    "oracle",
    "oracle_input_tokens",
    "oracle_output_tokens",
    "cost_usd",
    "response_token_ids",
    "rectified_token_ids",
    "history",
]
_BATCH = 2048
_REASON_CHARACTERS = 160
_NUMBERS = r"[0-9]+(?:[.,][0-9]+)*"
_WORD = pa.dictionary(pa.int32(), pa.string())

_ROWS = pa.schema(
    [
        ("status", _WORD),
        ("oracle", _WORD),
        ("change_ratio", pa.float64()),
        ("shared_prefix_tokens", pa.int32()),
        ("edit_regions", pa.int32()),
        ("attempts", pa.int32()),
        ("oracle_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("rejected_tokens", pa.int32()),
        ("rectified_tokens", pa.int32()),
    ]
)
_PROPOSALS = pa.schema(
    [
        ("row", pa.int32()),
        ("attempt", pa.int32()),
        ("oracle", _WORD),
        ("status", _WORD),
        ("reason", _WORD),
        ("change_ratio", pa.float64()),
        ("tokens", pa.int64()),
        ("cost_usd", pa.float64()),
    ]
)
_FLAGS = pa.schema([("row", pa.int32()), ("flag", _WORD)])


@dataclass(frozen=True, slots=True)
class Measures:
    """Figures of the rectify stage's rows, a hundred bytes or so each.

    Attributes:
        rows: one per failure, in order: status, oracle, change_ratio, shared_prefix_tokens, edit_regions, attempts,
            oracle_tokens (in and out), cost_usd, rejected_tokens and rectified_tokens (terminators included).
        proposals: one per entry of `history`, in order: row (its number), attempt, oracle, status, reason (numbers
            replaced by #, shortened), change_ratio, tokens (in and out), cost_usd.
        flags: one per flag of a row: row (its number), flag.
    """

    rows: pd.DataFrame
    proposals: pd.DataFrame
    flags: pd.DataFrame

    @classmethod
    def of_artifact(cls, artifact: Artifact) -> Self:
        """Reads the columns it needs, batch by batch."""
        return cls._of_batches(artifact.batches(columns=_COLUMNS, rows=_BATCH))

    @classmethod
    def of_rows(cls, rows: Iterable[dict[str, Any]]) -> Self:
        """The same of rows that are not yet in an artifact."""
        return cls._of_batches(_batches(rows))

    @classmethod
    def _of_batches(cls, batches: Iterable[pa.RecordBatch]) -> Self:
        rows, proposals, flags = [_ROWS.empty_table()], [_PROPOSALS.empty_table()], [_FLAGS.empty_table()]
        start = 0
        for batch in batches:
            rows.append(_rows(batch))
            proposals.append(_proposals(batch, start))
            flags.append(_flags(batch, start))
            start += batch.num_rows
        return cls(*(_frame(tables) for tables in (rows, proposals, flags)))


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([schemas.RECTIFY.field(name) for name in _COLUMNS])
    stream = iter(rows)
    while group := [{name: row[name] for name in _COLUMNS} for row in islice(stream, _BATCH)]:
        yield pa.RecordBatch.from_pylist(group, schema=schema)


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    return pa.concat_tables(tables).unify_dictionaries().to_pandas()


def _rows(batch: pa.RecordBatch) -> pa.Table:
    columns = {name: batch[name] for name in _ROWS.names if name in batch.schema.names} | {
        "oracle_tokens": pc.add(batch["oracle_input_tokens"], batch["oracle_output_tokens"]),
        "rejected_tokens": pc.list_value_length(batch["response_token_ids"]),
        "rectified_tokens": pc.list_value_length(batch["rectified_token_ids"]),
    }
    return _table(_ROWS, columns)


def _proposals(batch: pa.RecordBatch, start: int) -> pa.Table:
    entries = pc.list_flatten(batch["history"])
    field = {name: pc.struct_field(entries, name) for name in schemas.PROPOSAL.names}
    reason = pc.utf8_slice_codeunits(field["reason"], 0, _REASON_CHARACTERS)
    columns = field | {
        "row": pc.add(pc.list_parent_indices(batch["history"]), start),
        "reason": pc.replace_substring_regex(reason, _NUMBERS, "#"),
        "tokens": pc.add(field["input_tokens"], field["output_tokens"]),
    }
    return _table(_PROPOSALS, columns)


def _flags(batch: pa.RecordBatch, start: int) -> pa.Table:
    rows = pc.add(pc.list_parent_indices(batch["flags"]), start)
    return _table(_FLAGS, {"row": rows, "flag": pc.list_flatten(batch["flags"])})


def _table(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    arrays = [
        columns[field.name].dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else columns[field.name].cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
