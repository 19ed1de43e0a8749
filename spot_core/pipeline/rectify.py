"""Stage 3: the Oracle's minimal edits, checked again and measured.

A row is appended to the journal as soon as its failure is finished, so that a stage that was killed asks only about the
others. What an Oracle replied is in the log of replies before anybody reads it, so that no call is paid for twice.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from spot_core.config.oracle import in_order
from spot_core.config.spot import SpotConfig
from spot_core.errors import EngineError, PersonNeededError
from spot_core.inference.prompts import PromptRenderer
from spot_core.oracles.base import Failure, Oracle
from spot_core.oracles.human import Edits, Key
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.failures import failure_rows, failures_at
from spot_core.pipeline.filter import checker_settings, item_of, open_checker
from spot_core.pipeline.oracle_recipe import deciding
from spot_core.pipeline.oracles import Secret, no_secrets, open_oracles
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.review import Review, person_of
from spot_core.pipeline.running_cost import RunningCost
from spot_core.rectification.estimate import Estimate, estimate
from spot_core.rectification.judge import Judge
from spot_core.rectification.measures import Measures
from spot_core.rectification.rectify import rectify_failures
from spot_core.rectification.statistics import statistics
from spot_core.store import Artifact, ArtifactStore, ArtifactWriter, Recipe

log = logging.getLogger(__name__)

CODE_VERSION = 4
ASKED_AGAIN = {"oracle_error", "not_asked", "pending"}
"""Statuses of rows that are not final: a later attempt of the stage asks about their failures again."""
MOST_ORACLE_ERRORS = 0.05
"""Share of the failures that may stay without an answer; beyond it the stage fails rather than drop them."""
CONFIRM_DAYS = 30.0
"""How long an estimate waits to be confirmed."""

Row = dict[str, Any]


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
    on_progress: Progress = silent,
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
    confirmed: Collection[str] = (),
    secret: Secret = no_secrets,
) -> None:
    """Asks the Oracles about every failure; one final row per failure, whatever became of it.

    Args:
        writer: of the pairs.
        config: the run's.
        filtered: holds the failures.
        model_path: folder of the policy.
        store: has the replies of all runs.
        on_progress: called with the failures that are finished, and what they cost so far as a note.
        on_estimate: called with what asking will take, before the first call to an Oracle.
        confirmed: what a person has agreed to, by the keys of `PersonNeededError`.
        secret: finds an API key by the name of its secret.

    Raises:
        ConfigError: the Oracle cannot be asked, e.g. because its key is not in the environment.
        EngineError: too many requests failed for good; what was answered is kept for the next attempt.
        PersonNeededError: the estimate has to be confirmed, or edits are left to a person.
    """
    failures = failure_rows(filtered, config.filter)
    review = _review(writer, config)
    edits = review.edits(known=set(failures.values())) if review else Edits()
    journal = writer.journal()
    final = {_key_of(row) for row in journal if row["status"] not in ASKED_AGAIN}
    remaining = {number: key for number, key in failures.items() if key not in final}
    artifact = f"{writer.recipe.key}-{writer.generation}"
    on_progress(len(final), len(failures))

    async def ask_oracles(replies: ReplyJournal) -> None:
        opened = open_oracles(
            config,
            model_path=model_path,
            replies=replies,
            log_folder=writer.folder.parent / "logs",
            edits=edits,
            secret=secret,
        )
        async with opened as oracles:
            if estimated := estimate(failures_at(filtered, remaining), oracles):
                prompt = estimated.first_prompt
                log.info("before the first call: %s. The first prompt:\n%s", estimated, prompt)
                on_estimate(estimated)
                _require_confirmation(estimated, config, key=f"cost-{artifact}", confirmed=confirmed)
            cost = RunningCost(oracles, rows=len(remaining))
            done = len(final)
            histories = {_key_of(row): row["history"] for row in journal if _key_of(row) in edits}
            answers = _answer_failures(
                remaining,
                filtered=filtered,
                config=config,
                model_path=model_path,
                oracles=oracles,
                edits=edits,
                histories=histories,
            )
            async with aclosing(answers) as rows:
                async for row in rows:
                    journal.append(row)
                    done += 1
                    on_progress(done, len(failures), note=cost.after(row))

    repeated = 0
    if remaining:
        with store.shared_journals("replies") as folder, ReplyJournal(folder, writer=artifact) as replies:
            if repeated := sum(len(calls) for calls in replies.lost.values()):
                said = "%d calls were in flight when an earlier attempt was killed; they are made again"
                log.warning(said, repeated)
            asyncio.run(ask_oracles(replies))
    rows = {_key_of(row): row for row in journal}  # a later attempt's row replaces an earlier one's
    ordered = [rows[key] for key in sorted(rows)]
    assert len(ordered) == len(failures), f"{len(failures)} failures but {len(ordered)} rows"
    _require_answers(ordered, config)
    if review is not None:
        if waiting := [row for row in ordered if row["status"] == "pending"]:
            raise review.hand_over(waiting, total=len(ordered), edits=edits)
        review.close()
    figures = statistics(Measures.of_rows(ordered), gamma=config.rectify.gamma)
    writer.complete(ordered, statistics=figures | {"calls_repeated": repeated})


async def _answer_failures(
    failures: Mapping[int, Key],
    *,
    filtered: Artifact,
    config: SpotConfig,
    model_path: Path,
    oracles: Sequence[Oracle],
    edits: Edits,
    histories: Mapping[Key, Sequence[Row]],
) -> AsyncIterator[Row]:
    """Yields the row of each failure as soon as it is finished.

    Args:
        failures: rows of the filter artifact by their numbers, with their keys.
        filtered: the filter artifact.
        config: the run's.
        model_path: folder of the policy.
        oracles: in the order in which they are asked.
        edits: what a person has decided so far.
        histories: what was proposed before for the failures that have an edit.
    """
    renderer = PromptRenderer(model_path, config.model, config.prompt)
    concurrency = max(getattr(oracle, "concurrency", 1) for oracle in in_order(config.rectify.oracle))
    with open_checker(config.filter) as pool:

        def check(response: str, failure: Failure) -> str:
            row = dataclasses.asdict(failure) | {"finish_reason": None}
            return pool.check_item(item_of(config.filter, response, row)).verdict

        judge = Judge(
            renderer.tokenizer,
            renderer.turn_end,
            check,
            gamma=config.rectify.gamma,
            max_tokens=config.train.context_length,
            exclude=frozenset(config.rectify.exclude_flags),
        )
        # A failure with an edit goes to the person alone, who is the last Oracle.
        edited = [number for number, key in failures.items() if key in edits]
        others = [number for number, key in failures.items() if key not in edits]
        for numbers, asked in ((edited, oracles[-1:]), (others, oracles)):
            answers = rectify_failures(
                failures_at(filtered, numbers),
                oracles=asked,
                judge=judge,
                concurrency=concurrency,
                histories=histories,
            )
            async with aclosing(answers) as rows:
                async for row in rows:
                    yield row


def _require_confirmation(
    estimated: Estimate, config: SpotConfig, *, key: str, confirmed: Collection[str]
) -> None:
    """Refuses to spend more than `rectify.confirm_above_usd` before a person has agreed to it.

    Raises:
        PersonNeededError: nobody has.
    """
    limit = config.rectify.confirm_above_usd
    if limit is None or estimated.usd <= limit or key in confirmed:
        return
    raise PersonNeededError(
        f"the Oracle will cost about ${estimated.usd:,.2f}, more than rectify.confirm_above_usd = {limit:g}: {estimated}. "
        f"If that is all right, resume the run, or call run.confirm({key!r}) and the stage again",
        page=f"Resume this run to spend about ${estimated.usd:,.2f}; cancel it not to.\n\n{estimated.markdown()}",
        wait_days=CONFIRM_DAYS,
        key=key,
    )


def _review(writer: ArtifactWriter, config: SpotConfig) -> Review | None:
    """Where a person's edits are exchanged, if a person is asked."""
    if (person := person_of(config.rectify.oracle)) is None:
        return None
    of, folder = f"{writer.recipe.stage}/{writer.recipe.key}", writer.folder.parent / "review"
    place = f"{config.store.rstrip('/')}/{of}/review" if "://" in config.store else str(folder)
    return Review(folder, place, person, f"{of}/{writer.generation}", config.rectify.gamma)


def _key_of(row: Row) -> Key:
    """The primary key of a row."""
    return row["question_id"], row["sample"]


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
