"""Stage 2: check every final answer; the failures go on.

Rows are read in batches and checked in a pool of processes; the verdicts are appended to a journal in the order of the
rows, so that their number says where a stage that was killed goes on; at the end the parts are written in that order.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pyarrow as pa

from spot_core.checker import CHECKER_VERSION, CheckerPool, CheckItem, Verdict
from spot_core.config.checker import CheckerConfig
from spot_core.devices import cores
from spot_core.pipeline.pass_rates import pass_rate_statistics
from spot_core.pipeline.progress import Progress, silent
from spot_core.store import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.store.journal import Journal
from spot_core.store.writer import ROWS_PER_GROUP, regrouped

CODE_VERSION = 2
VERDICTS_PER_RECORD = 500
SECONDS_PER_RECORD = 0.1
"""A journal record is written once its rows took so long to check: what a crash makes us check again."""
SLOWEST = 10
"""Rows named in the statistics."""

_DECIDING = {"kind", "tolerance", "answer_prefixes", "timeout_seconds", "memory_gb"}
_CHECKED = ["response", "answer", "finish_reason", "checker", "metadata"]
_VERDICT = pa.schema(schemas.VERDICT)

Record = dict[str, list[Any]]
"""Consecutive verdicts in the journal: columns of equal length."""


def checker_settings(checker: CheckerConfig) -> dict[str, Any]:
    """What decides a verdict, beside the texts."""
    return checker.model_dump(mode="json", include=_DECIDING) | {"checker": CHECKER_VERSION}


def open_checker(checker: CheckerConfig) -> CheckerPool:
    """A pool of checking processes as configured."""
    return CheckerPool(
        workers=checker.workers or cores(),
        timeout_seconds=checker.timeout_seconds,
        memory_bytes=int(checker.memory_gb * 1024**3),
    )


def item_of(checker: CheckerConfig, response: str, row: Mapping[str, Any]) -> CheckItem:
    """What is to be checked of a response to a row with `answer`, `checker`, `metadata` and `finish_reason`."""
    return CheckItem(
        response,
        row["answer"],
        row["checker"] or checker.kind,
        row["finish_reason"],
        row["metadata"],
        checker.tolerance,
        checker.answer_prefixes,
    )


def recipe(checker: CheckerConfig, *, rollout: Artifact) -> Recipe:
    """Recipe of the verdicts. Which of them count as failures is decided by the next stage."""
    return Recipe("filter", checker_settings(checker), {"rollout": rollout.digest}, CODE_VERSION)


def make(
    writer: ArtifactWriter, checker: CheckerConfig, *, rollout: Artifact, on_progress: Progress = silent
) -> None:
    """Checks every response of a rollout; all rows are kept, with their verdict."""
    journal = writer.journal("verdicts")
    done = sum(len(record["verdict"]) for record in journal)
    with open_checker(checker) as pool:
        verdicts = pool.check_many(_read_items(rollout, checker, skip=done))
        for record in group_verdicts(verdicts):
            journal.append(record)
            done += len(record["verdict"])
            on_progress(done, rollout.rows)
    writer.complete_batches(_join_verdicts(rollout, journal), statistics=_statistics(rollout, journal))


def _read_items(rollout: Artifact, checker: CheckerConfig, *, skip: int) -> Iterator[CheckItem]:
    """Yields what is to be checked of each row, except for the first ``skip`` rows."""
    for batch in rollout.batches(columns=_CHECKED):
        for row in batch.slice(skip).to_pylist():
            yield item_of(checker, row["response"], row)
        skip = max(0, skip - batch.num_rows)


def group_verdicts(verdicts: Iterable[Verdict]) -> Iterator[Record]:
    """Yields the verdicts in order, as records for the journal."""
    group: list[Verdict] = []
    seconds = 0.0
    for verdict in verdicts:
        group.append(verdict)
        seconds += verdict.seconds
        if len(group) == VERDICTS_PER_RECORD or seconds >= SECONDS_PER_RECORD:
            yield _to_record(group)
            group, seconds = [], 0.0
    if group:
        yield _to_record(group)


def _to_record(verdicts: list[Verdict]) -> Record:
    return {
        "extracted_answer": [verdict.extracted_answer for verdict in verdicts],
        "method": [verdict.method for verdict in verdicts],
        "verdict": [verdict.verdict for verdict in verdicts],
        "seconds": [round(verdict.seconds, 6) for verdict in verdicts],
    }


def _join_verdicts(rollout: Artifact, journal: Journal) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the rollout with their verdicts.

    The rows stay in Arrow's memory, because token ids are most of their bytes. The seconds of a check are left out,
    because they differ from run to run.
    """
    records = ({name: record[name] for name in _VERDICT.names} for record in journal)
    verdicts = (pa.RecordBatch.from_pydict(record, schema=_VERDICT) for record in records)
    left = regrouped(rollout.batches(), schemas.ROLLOUT, rows=ROWS_PER_GROUP)
    right = regrouped(verdicts, _VERDICT, rows=ROWS_PER_GROUP)
    for rows, checked in zip(left, right, strict=True):
        yield from pa.Table.from_arrays([*rows.columns, *checked.columns], schema=schemas.FILTER).to_batches()


def _statistics(rollout: Artifact, journal: Journal) -> dict[str, Any]:
    tally = Tally()
    pass_rates = pass_rate_statistics(rollout, tally.count_verdicts(journal))
    keys = rollout.rows_at((row for _, row in tally.slowest), columns=["question_id", "sample"])
    return {
        "verdicts": dict(tally.verdicts.most_common()),
        "methods": dict(tally.methods.most_common()),
        "accuracy": tally.verdicts["correct"] / rollout.rows if rollout.rows else None,
        "check_seconds": round(tally.seconds, 3),
        "slowest": [{"row": row, **keys[row], "seconds": seconds} for seconds, row in tally.slowest],
        **pass_rates,
    }


@dataclass
class Tally:
    """Counts over the verdicts of a journal."""

    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, number of the row) of the rows that took longest to check, longest first."""

    def count_verdicts(self, records: Iterable[Record]) -> Iterator[str]:
        """Yields the verdict of each row, and counts it meanwhile."""
        for record in records:
            seconds = record["seconds"]
            timed = zip(seconds, count(self.rows), strict=False)
            self.slowest = heapq.nlargest(SLOWEST, [*self.slowest, *timed])
            self.rows += len(seconds)
            self.seconds += sum(seconds)
            self.verdicts.update(record["verdict"])
            self.methods.update(record["method"])
            yield from record["verdict"]
