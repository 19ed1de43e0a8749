"""Stage 2: check every final answer; the failures go on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from spot_core.artifacts import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.artifacts.batches import regrouped
from spot_core.artifacts.writer import ROWS_PER_GROUP
from spot_core.checker import CHECKER_VERSION, CheckerPool, CheckItem
from spot_core.config.checker import CheckerConfig
from spot_core.devices import cores
from spot_core.pipeline import verdicts
from spot_core.pipeline.pass_rates import pass_rate_statistics
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.shards import (
    Journals,
    Mapper,
    Record,
    Seen,
    Shard,
    batches_of,
    divided,
    require_shown,
    unseen,
)
from spot_core.pipeline.verdicts import Tally

CODE_VERSION = 2
_DECIDING = {"kind", "tolerance", "answer_prefixes", "timeout_seconds", "memory_gb"}
_CHECKED = ["response", "answer", "finish_reason", "checker", "metadata"]


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


@dataclass(frozen=True)
class Checking:
    """Checks the rows of a shard, which follow each other; see `spot_core.pipeline.shards.Work`."""

    rollout: Artifact
    checker: CheckerConfig
    journals: Journals

    def __call__(self, shard: Shard, seen: Seen = unseen) -> None:
        """Adds a verdict for every row that has none; each journal is named after the row that it begins with."""
        rows = range(shard.rows[0], shard.rows[-1] + 1)
        with open_checker(self.checker) as pool:
            for missing in verdicts.missing(self.journals, rows):
                with self.journals.open(verdicts.prefix(missing.start)) as journal:
                    for record in verdicts.records(pool.check_many(self._items(missing))):
                        journal.append(record)
                        seen(record)

    def _items(self, rows: range) -> Iterator[CheckItem]:
        for batch in batches_of(self.rollout, rows, columns=_CHECKED):
            for row in batch.to_pylist():
                yield item_of(self.checker, row["response"], row)


def make(
    writer: ArtifactWriter,
    checker: CheckerConfig,
    *,
    rollout: Artifact,
    on_progress: Progress = silent,
    mapper: Mapper | None = None,
) -> None:
    """Checks every response of a rollout; all rows are kept, with their verdict.

    Without a ``mapper`` all is done in this process and its checking processes.
    """
    journals = Journals(writer.work / "verdicts")
    missing = verdicts.missing(journals, range(rollout.rows))
    done = rollout.rows - sum(map(len, missing))

    def seen(record: Record) -> None:
        nonlocal done
        done += len(record["verdict"])
        on_progress(min(done, rollout.rows), rollout.rows)

    if mapper is None:
        work = Checking(rollout, checker, journals)
        for shard in divided(missing, pieces=1):
            work(shard, seen)
    elif missing:
        processes = {"workers": mapper.checking_processes}
        work = Checking(rollout.fetched(), checker.model_copy(update=processes), journals)
        mapper.run(work, divided(missing, mapper.pieces(rollout.rows - done)), seen)
        require_shown(journals, lambda: not verdicts.missing(journals, range(rollout.rows)))
    writer.complete_batches(_joined(rollout, journals), statistics=_statistics(rollout, journals))


def _joined(rollout: Artifact, journals: Journals) -> Iterator[pa.RecordBatch]:
    """The rows of the rollout with their verdicts. They stay in Arrow's memory: token ids are most of their bytes."""
    rows = ROWS_PER_GROUP
    responses = regrouped(rollout.batches(), schemas.ROLLOUT, rows=rows)
    checked = regrouped(verdicts.batches(verdicts.in_order(journals)), verdicts.SCHEMA, rows=rows)
    for left, right in zip(responses, checked, strict=True):
        yield from pa.Table.from_arrays([*left.columns, *right.columns], schema=schemas.FILTER).to_batches()


def _statistics(rollout: Artifact, journals: Journals) -> dict[str, Any]:
    tally = Tally()
    pass_rates = pass_rate_statistics(rollout, tally.over(verdicts.in_order(journals)))
    keys = rollout.rows_at((row for _, row in tally.slowest), columns=["question_id", "sample"])
    return {
        "verdicts": dict(tally.verdicts.most_common()),
        "methods": dict(tally.methods.most_common()),
        "accuracy": tally.verdicts["correct"] / rollout.rows if rollout.rows else None,
        "check_seconds": round(tally.seconds, 3),
        "slowest": [{"row": row, **keys[row], "seconds": seconds} for seconds, row in tally.slowest],
        **pass_rates,
    }
