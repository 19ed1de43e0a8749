"""Stage 3: the Oracle's minimal edits, checked again and measured."""

import asyncio
import dataclasses
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from spot_core.artifacts import Artifact, ArtifactStore, ArtifactWriter, Recipe
from spot_core.artifacts.journal import Journal
from spot_core.config.oracle import OpenAIOracleConfig, OracleConfig, result_settings
from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.inference.client import ModelClient
from spot_core.models import load_tokenizer
from spot_core.oracles.base import Failure, Oracle, ReplyLog, make_oracle
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.failures import failures_of
from spot_core.pipeline.filter import checker_settings, item_of, open_checker
from spot_core.pipeline.progress import Progress, silent
from spot_core.rectification.rectify import rectify_failures

log = logging.getLogger(__name__)

CODE_VERSION = 1
ASKED_AGAIN = {"oracle_error", "not_asked"}
"""Statuses that a resumed attempt does not take as final."""
MOST_ORACLE_ERRORS = 0.05
"""Share of the failures that may stay without an answer; beyond it the stage fails rather than drop them."""


def recipe(config: SpotConfig, *, filtered: Artifact, model: str) -> Recipe:
    """Recipe of the rectified pairs. ``model`` is the policy's fingerprint: its tokenizer measures the edits."""
    return Recipe(
        stage="rectify",
        settings={
            "oracle": result_settings(config.rectify.oracle),
            "gamma": config.rectify.gamma,
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
) -> None:
    """Asks the Oracle about every failure; one final row per failure, whatever became of it.

    Raises:
        ConfigError: the Oracle cannot be asked, e.g. because its key is not in the environment.
        EngineError: too many requests failed for good; what was answered is kept for the next attempt.
    """
    failures = failures_of(filtered, config.filter)
    journal = writer.journal()
    final = {(row["question_id"], row["sample"]): row for row in journal if row["status"] not in ASKED_AGAIN}
    remaining = [f for f in failures if (f.question_id, f.sample) not in final]
    on_progress(len(final), len(failures))
    if remaining:
        with ReplyJournal.open(
            store.root / "replies", writer=f"{writer.recipe.key}-{writer.generation}"
        ) as replies:
            asyncio.run(
                _ask(
                    remaining, config, model_path, journal, replies, done=len(final), on_progress=on_progress
                )
            )
    rows = {
        (row["question_id"], row["sample"]): row for row in journal
    }  # a later attempt replaces an earlier one
    ordered = [rows[key] for key in sorted(rows)]
    assert len(ordered) == len(failures), f"{len(failures)} failures but {len(ordered)} rows"
    _require_answers(ordered)
    writer.complete(ordered, statistics=statistics(ordered))


def _require_answers(rows: list[dict[str, Any]]) -> None:
    """Refuses to take an outage of the Oracle for a result."""
    errors = [row for row in rows if row["status"] == "oracle_error"]
    if len(errors) > MOST_ORACLE_ERRORS * len(rows):
        raise EngineError(
            f"the Oracle gave no answer for {len(errors)} of {len(rows)} failures (the first: {errors[0]['reason']}). "
            "What it did answer is kept: run the stage again, and only the rest is asked"
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


async def _ask(
    failures: list[Failure],
    config: SpotConfig,
    model_path: Path,
    journal: Journal,
    replies: ReplyLog,
    *,
    done: int,
    on_progress: Progress,
) -> None:
    tokenizer = load_tokenizer(model_path, trust_remote_code=config.model.trust_remote_code)
    total = done + len(failures)
    async with open_oracle(config.rectify.oracle, replies) as oracle:
        with open_checker(config.filter) as pool:

            def check(response: str, failure: Failure) -> str:
                row = dataclasses.asdict(failure) | {"finish_reason": None}
                return pool.check_item(item_of(config.filter, response, row)).verdict

            rows = rectify_failures(
                failures,
                oracle=oracle,
                tokenizer=tokenizer,
                check=check,
                gamma=config.rectify.gamma,
                max_tokens=config.train.context_length,
                concurrency=getattr(config.rectify.oracle, "concurrency", 1),
            )
            async for number, row in _enumerate(rows, start=done + 1):
                journal.append(row)
                on_progress(number, total)


@asynccontextmanager
async def open_oracle(oracle: OracleConfig, replies: ReplyLog) -> AsyncIterator[Oracle]:
    """The configured Oracle, with a client for one that asks a model.

    Raises:
        ConfigError: the environment variable that should hold the API key is not set.
    """
    if not isinstance(oracle, OpenAIOracleConfig):
        yield make_oracle(oracle)
        return
    api_key = os.environ.get(oracle.api_key_env)
    if not api_key:
        raise ConfigError(
            f"rectify.oracle.api_key_env = {oracle.api_key_env!r}: this environment variable is not set where the "
            "rectify stage runs; export the API key under this name before you start the worker"
        )
    client = ModelClient(
        base_url=oracle.base_url,
        api_key=api_key,
        timeout_seconds=oracle.timeout_seconds,
        max_retries=oracle.max_retries,
        connections=oracle.concurrency,
    )
    try:
        yield make_oracle(oracle, client=client, replies=replies)
    finally:
        await client.close()


async def _enumerate(
    rows: AsyncIterator[dict[str, Any]], *, start: int
) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    async for row in rows:
        yield start, row
        start += 1


def statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Change-ratio statistics and what became of every failure, for the manifest and the summary."""
    accepted = [row for row in rows if row["status"] == "accepted"]
    ratios = pd.Series([row["change_ratio"] for row in accepted], dtype="float64")
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    return {
        "failures": len(rows),
        "pairs": len(accepted),
        "status": dict(Counter(row["status"] for row in rows).most_common()),
        "change_ratio": None
        if ratios.empty
        else {
            "mean": float(ratios.mean()),
            "median": float(ratios.median()),
            "p90": float(ratios.quantile(0.9)),
            "max": float(ratios.max()),
        },
        "shared_prefix_share": None
        if not accepted
        else sum(row["shared_prefix_tokens"] for row in accepted)
        / sum(len(row["rectified_token_ids"]) for row in accepted),
        "cost_usd": sum(costs),
        "oracle_tokens": sum(row["oracle_input_tokens"] + row["oracle_output_tokens"] for row in rows),
    }
