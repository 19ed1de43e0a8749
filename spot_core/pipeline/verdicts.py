"""The verdicts of an unfinished filter stage: journaled some rows at a time, counted, and read back as columns."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pyarrow as pa

from spot_core.artifacts import schemas
from spot_core.checker import Verdict

ROWS_PER_RECORD = 500
SECONDS_PER_RECORD = 0.1
"""A record is written once its rows took so long to check: what a crash makes us check again."""
SLOWEST = 10

SCHEMA = pa.schema(schemas.VERDICT)


def records(verdicts: Iterable[Verdict]) -> Iterator[dict[str, Any]]:
    """The verdicts in order as records for a journal, each a few columns of equal length."""
    held: list[Verdict] = []
    seconds = 0.0
    for verdict in verdicts:
        held.append(verdict)
        seconds += verdict.seconds
        if len(held) == ROWS_PER_RECORD or seconds >= SECONDS_PER_RECORD:
            yield _record(held)
            held, seconds = [], 0.0
    if held:
        yield _record(held)


def _record(verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "extracted_answer": [verdict.extracted_answer for verdict in verdicts],
        "method": [verdict.method for verdict in verdicts],
        "verdict": [verdict.verdict for verdict in verdicts],
        "seconds": [round(verdict.seconds, 6) for verdict in verdicts],
    }


def batches(journal: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """The columns that go into the artifact; how long a check took differs from run to run and stays out."""
    for record in journal:
        yield pa.RecordBatch.from_pydict({name: record[name] for name in SCHEMA.names}, schema=SCHEMA)


@dataclass
class Tally:
    """Counts over the records of a journal."""

    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, number of the row) of the rows that took longest to check, longest first."""

    def add(self, record: dict[str, Any]) -> None:
        """Counts the rows of one more record."""
        seconds = record["seconds"]
        self.slowest = heapq.nlargest(SLOWEST, [*self.slowest, *zip(seconds, count(self.rows), strict=False)])
        self.rows += len(seconds)
        self.seconds += sum(seconds)
        self.verdicts.update(record["verdict"])
        self.methods.update(record["method"])
