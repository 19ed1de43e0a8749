"""Stage 2: check every final answer; the failures go on."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from spot_core.artifacts import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.artifacts.batches import regrouped
from spot_core.artifacts.journal import Journal
from spot_core.artifacts.writer import ROWS_PER_GROUP
from spot_core.checker import CHECKER_VERSION, CheckerPool, CheckItem
from spot_core.config.checker import CheckerConfig
from spot_core.devices import cores
from spot_core.pipeline import verdicts
from spot_core.pipeline.pass_rates import pass_rate_statistics
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.verdicts import Tally

log = logging.getLogger(__name__)

CODE_VERSION = 2
_DECIDING = {"kind", "tolerance", "answer_prefixes", "timeout_seconds", "memory_gb"}


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
    tally = Tally()
    for record in journal:
        tally.add(record)
    with open_checker(checker) as pool:
        # Verdicts come in the order of the rows, so their number says where to go on.
        for record in verdicts.records(pool.check_many(_items(rollout, checker, skip=tally.rows))):
            journal.append(record)
            tally.add(record)
            on_progress(tally.rows, rollout.rows)
    judged = (verdict for record in journal for verdict in record["verdict"])
    statistics = _statistics(rollout, tally) | pass_rate_statistics(rollout, judged)
    writer.complete_batches(_joined(rollout, journal), statistics=statistics)


def _items(rollout: Artifact, checker: CheckerConfig, *, skip: int) -> Iterator[CheckItem]:
    """What is to be checked, but for the first ``skip`` rows."""
    for batch in rollout.batches(columns=["response", "answer", "finish_reason", "checker", "metadata"]):
        for row in batch.slice(skip).to_pylist():
            yield item_of(checker, row["response"], row)
        skip = max(0, skip - batch.num_rows)


def _joined(rollout: Artifact, journal: Journal) -> Iterator[pa.RecordBatch]:
    """The rows of the rollout with their verdicts. They stay in Arrow's memory: token ids are most of their bytes."""
    rows = ROWS_PER_GROUP
    responses = regrouped(rollout.batches(), schemas.ROLLOUT, rows=rows)
    checked = regrouped(verdicts.batches(journal), verdicts.SCHEMA, rows=rows)
    for left, right in zip(responses, checked, strict=True):
        yield from pa.Table.from_arrays([*left.columns, *right.columns], schema=schemas.FILTER).to_batches()


def _statistics(rollout: Artifact, tally: Tally) -> dict[str, Any]:
    keys = rollout.rows_at((row for _, row in tally.slowest), columns=["question_id", "sample"])
    return {
        "verdicts": dict(tally.verdicts.most_common()),
        "methods": dict(tally.methods.most_common()),
        "accuracy": tally.verdicts["correct"] / rollout.rows if rollout.rows else None,
        "check_seconds": round(tally.seconds, 3),
        "slowest": [{"row": row, **keys[row], "seconds": seconds} for seconds, row in tally.slowest],
    }
