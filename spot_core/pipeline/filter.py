"""Stage 2: check every final answer; the failures go on."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from spot_core.artifacts import Artifact, ArtifactWriter, Recipe
from spot_core.artifacts.journal import Journal
from spot_core.checker import CHECKER_VERSION, CheckerPool, CheckItem
from spot_core.config.checker import CheckerConfig
from spot_core.devices import cores
from spot_core.pipeline.pass_rates import pass_rate_statistics
from spot_core.pipeline.progress import Progress, silent

log = logging.getLogger(__name__)

CODE_VERSION = 1


def checker_settings(checker: CheckerConfig) -> dict[str, Any]:
    """What decides a verdict, beside the texts."""
    return checker.model_dump(mode="json", include={"kind", "timeout_seconds"}) | {"checker": CHECKER_VERSION}


def open_checker(checker: CheckerConfig) -> CheckerPool:
    """A pool of checking processes as configured."""
    return CheckerPool(workers=checker.workers or cores(), timeout_seconds=checker.timeout_seconds)


def recipe(checker: CheckerConfig, *, rollout: Artifact) -> Recipe:
    """Recipe of the verdicts. Which of them count as failures is decided by the next stage."""
    return Recipe("filter", checker_settings(checker), {"rollout": rollout.digest}, CODE_VERSION)


def make(
    writer: ArtifactWriter, checker: CheckerConfig, *, rollout: Artifact, on_progress: Progress = silent
) -> None:
    """Checks every response of a rollout; all rows are kept, with their verdict."""
    journal = writer.journal()
    done = sum(1 for _ in journal)  # verdicts come in the order of the rows, so a count says where to go on
    items = (
        CheckItem(row["response"], row["answer"], checker.kind, row["finish_reason"])
        for number, row in enumerate(rollout.rows_as_dicts(columns=["response", "answer", "finish_reason"]))
        if number >= done
    )
    with open_checker(checker) as pool:
        for number, verdict in enumerate(pool.check_many(items), start=done + 1):
            journal.append(
                {
                    "extracted_answer": verdict.extracted_answer,
                    "method": verdict.method,
                    "verdict": verdict.verdict,
                }
            )
            on_progress(number, rollout.rows)
    verdicts = Counter(record["verdict"] for record in journal)
    methods = Counter(record["method"] for record in journal)
    writer.complete(
        _joined(rollout, journal),
        statistics={
            "verdicts": dict(verdicts.most_common()),
            "methods": dict(methods.most_common()),
            "accuracy": verdicts["correct"] / rollout.rows if rollout.rows else None,
            **pass_rate_statistics(rollout, (record["verdict"] for record in journal)),
        },
    )


def _joined(rollout: Artifact, journal: Journal) -> Iterator[dict[str, Any]]:
    for row, record in zip(rollout.rows_as_dicts(), journal, strict=True):
        yield row | record
