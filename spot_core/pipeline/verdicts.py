"""The verdicts of an unfinished filter stage: journaled some rows at a time, counted, and read back as columns."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa

from spot_core.artifacts import schemas
from spot_core.artifacts.journal import read_journal
from spot_core.checker import Verdict
from spot_core.pipeline.shards import Journals, Record

ROWS_PER_RECORD = 500
SECONDS_PER_RECORD = 0.1
"""A record is written once its rows took so long to check: what a crash makes us check again."""
SLOWEST = 10

SCHEMA = pa.schema(schemas.VERDICT)


def records(verdicts: Iterable[Verdict]) -> Iterator[Record]:
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


def _record(verdicts: list[Verdict]) -> Record:
    return {
        "extracted_answer": [verdict.extracted_answer for verdict in verdicts],
        "method": [verdict.method for verdict in verdicts],
        "verdict": [verdict.verdict for verdict in verdicts],
        "seconds": [round(verdict.seconds, 6) for verdict in verdicts],
    }


def prefix(row: int) -> str:
    """How a journal is named whose verdicts are of this row and of those that follow it."""
    return f"{row:012d}"


def _first_row(path: Path) -> int:
    return int(path.name.partition("-")[0])


def missing(journals: Journals, rows: range) -> list[range]:
    """The rows without a verdict, as far as journals tell that begin within ``rows``."""
    found, reached = [], rows.start
    for path in journals.paths():
        if (first := _first_row(path)) in rows:
            if first > reached:
                found.append(range(reached, first))
            reached = max(reached, first + sum(len(record["verdict"]) for record in read_journal(path)))
    return [*found, range(reached, rows.stop)] if reached < rows.stop else found


def in_order(journals: Journals) -> Iterator[Record]:
    """The verdicts in the order of their rows, each row once; every row has one.

    Two journals tell of the same row where a shard that was believed to be dead went on for a while.
    """
    reached = 0
    for path in journals.paths():
        row = _first_row(path)
        for record in read_journal(path):
            end = row + len(record["verdict"])
            if end > reached:
                assert row <= reached, f"row {reached} has no verdict"
                yield {name: values[reached - row :] for name, values in record.items()}
                reached = end
            row = end


def batches(records: Iterable[Record]) -> Iterator[pa.RecordBatch]:
    """The columns that go into the artifact; how long a check took differs from run to run and stays out."""
    for record in records:
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

    def add(self, record: Record) -> None:
        """Counts the rows of one more record."""
        seconds = record["seconds"]
        self.slowest = heapq.nlargest(SLOWEST, [*self.slowest, *zip(seconds, count(self.rows), strict=False)])
        self.rows += len(seconds)
        self.seconds += sum(seconds)
        self.verdicts.update(record["verdict"])
        self.methods.update(record["method"])

    def over(self, records: Iterable[Record]) -> Iterator[str]:
        """Passes the verdicts on, row by row, and counts them meanwhile."""
        for record in records:
            self.add(record)
            yield from record["verdict"]
