"""Stage 3: the Oracle's minimal edits, checked again and measured."""

import logging
from collections.abc import Sequence
from pathlib import Path

from spot_core.artifacts import Artifact, ArtifactStore, ArtifactWriter, Recipe
from spot_core.config.spot import SpotConfig
from spot_core.errors import EngineError
from spot_core.oracles.human import Edits, Key
from spot_core.pipeline.answering import ASKED_AGAIN, Row, key_of
from spot_core.pipeline.asking import Asking, Attended
from spot_core.pipeline.failures import failure_rows
from spot_core.pipeline.filter import checker_settings
from spot_core.pipeline.oracle_recipe import deciding
from spot_core.pipeline.review import Review, person_of
from spot_core.pipeline.shards import Journals, Mapper
from spot_core.rectification.measures import Measures
from spot_core.rectification.statistics import statistics

log = logging.getLogger(__name__)

CODE_VERSION = 4
MOST_ORACLE_ERRORS = 0.05
"""Share of the failures that may stay without an answer; beyond it the stage fails rather than drop them."""


def recipe(config: SpotConfig, *, filtered: Artifact, model: str, download: bool = True) -> Recipe | None:
    """Recipe of the rectified pairs; None while an Oracle's own model is not here and must not be downloaded.

    ``model`` is the policy's fingerprint: its tokenizer measures the edits.
    """
    if (oracle := deciding(config, download=download)) is None:
        return None
    return Recipe(
        stage="rectify",
        settings={
            "oracle": oracle,
            "gamma": config.rectify.gamma,
            "exclude_flags": sorted(config.rectify.exclude_flags),
            "take": sorted(config.filter.take),
            "keep": config.filter.keep,
            "max_failures": config.filter.max_failures,
            "checker": checker_settings(config.filter),
            "context_length": config.train.context_length,
        },
        inputs={"filter": filtered.digest, "model": model},
        code_version=CODE_VERSION,
    )


def make(
    writer: ArtifactWriter,
    config: SpotConfig,
    *,
    filtered: Artifact,
    model_path: Path,
    store: ArtifactStore,
    attended: Attended,
    mapper: Mapper | None = None,
) -> None:
    """Asks the Oracles about every failure; one final row per failure, whatever became of it.

    Without a ``mapper`` all is done in this process and its checking processes.

    Raises:
        ConfigError: the Oracle cannot be asked, e.g. because its key is not in the environment.
        EngineError: too many requests failed for good; what was answered is kept for the next attempt.
        PersonNeededError: the estimate has to be confirmed, or edits are left to a person.
    """
    failures = failure_rows(filtered, config.filter)
    review = _review(writer, config)
    edits = review.edits(known=set(failures.values())) if review else Edits()
    journals = Journals(writer.work / "rows")
    final = {key_of(row) for row in journals.records() if row["status"] not in ASKED_AGAIN}
    remaining = {row: key for row, key in failures.items() if key not in final}
    attended.on_progress(len(final), len(failures))
    lost = 0
    if remaining:
        with store.shared_journals("replies") as folder:
            asking = Asking(
                writer,
                config,
                model_path,
                filtered,
                folder,
                journals,
                edits,
                attended,
                done=len(final),
                mapper=mapper,
            )
            lost = asking.about(remaining)
    rows = _latest(journals)
    ordered = [rows[key] for key in sorted(rows)]
    assert len(ordered) == len(failures), f"{len(failures)} failures but {len(ordered)} rows"
    _require_answers(ordered, config)
    if review is not None:
        if waiting := [row for row in ordered if row["status"] == "pending"]:
            raise review.hand_over(waiting, total=len(ordered), edits=edits)
        review.close()
    figures = statistics(Measures.of_rows(ordered), gamma=config.rectify.gamma)
    writer.complete(ordered, statistics=figures | {"calls_repeated": lost})


def _review(writer: ArtifactWriter, config: SpotConfig) -> Review | None:
    """Where a person's edits are exchanged, if a person is asked."""
    if (person := person_of(config.rectify.oracle)) is None:
        return None
    of, folder = f"{writer.recipe.stage}/{writer.recipe.key}", writer.folder.parent / "review"
    place = f"{config.store.rstrip('/')}/{of}/review" if "://" in config.store else str(folder)
    return Review(folder, place, person, f"{of}/{writer.generation}", config.rectify.gamma)


def _latest(journals: Journals) -> dict[Key, Row]:
    """The row of each failure: of a later attempt, unless an earlier one was final after all."""
    rows: dict[Key, Row] = {}
    for row in journals.records():
        before = rows.get(key := key_of(row))
        if before is None or before["status"] in ASKED_AGAIN:
            rows[key] = row
    return rows


def _require_answers(rows: Sequence[Row], config: SpotConfig) -> None:
    """Refuses to take an outage of the Oracle for a result, or a spent budget where that shall stop the stage."""
    errors = [row for row in rows if row["status"] == "oracle_error"]
    if len(errors) > MOST_ORACLE_ERRORS * len(rows):
        raise EngineError(
            f"the Oracle gave no answer for {len(errors)} of {len(rows)} failures (the first: {errors[0]['reason']}). "
            "What it did answer is kept: run the stage again, and only the rest is asked"
        )
    unasked = [row for row in rows if row["status"] == "not_asked"]
    if unasked and config.rectify.when_budget_ends == "stop":
        raise EngineError(
            f"{unasked[0]['reason']}: {len(unasked)} of {len(rows)} failures were not asked about. What was answered is "
            "kept: a run of another name with a higher limit goes on from here (the limit is no part of the artifact's "
            "key), and one with rectify.when_budget_ends = go_on trains with what there is"
        )


def warn_of_unanswered(rectified: Artifact) -> None:
    """Says, whenever such an artifact is made or reused, that some failures have no answer of the Oracle."""
    if unasked := sum(rectified.statistics["status"].get(status, 0) for status in ASKED_AGAIN):
        log.warning(
            "%d of %d failures have no answer of the Oracle (its errors, or the budget): refresh=['rectify'] asks for "
            "these, and takes what was answered from the log of replies",
            unasked,
            rectified.rows,
        )
