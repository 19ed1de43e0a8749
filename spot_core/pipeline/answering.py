"""The Oracles' edits of failures, verified: rows as they are finished, here or in a shard."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spot_core.artifacts import Artifact
from spot_core.config.oracle import in_order
from spot_core.config.spot import SpotConfig
from spot_core.inference.prompts import PromptRenderer
from spot_core.oracles.base import Failure, Oracle
from spot_core.oracles.human import Edits, Key
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.failures import failures_at
from spot_core.pipeline.filter import item_of, open_checker
from spot_core.pipeline.oracles import Secret, open_oracles
from spot_core.pipeline.portions import Portion, connections
from spot_core.pipeline.shards import Journals, Seen, Shard, unseen
from spot_core.rectification.judge import Judge
from spot_core.rectification.rectify import rectify_failures

ASKED_AGAIN = {"oracle_error", "not_asked", "pending"}
"""Statuses that a resumed attempt does not take as final."""

Row = dict[str, Any]


def attempt_prefix(attempt: int) -> str:
    """How the journals of an attempt of the stage are named: those of a later one come later."""
    return f"{attempt:04d}-"


def journal_prefix(attempt: int, shard: int = 0) -> str:
    """How those of one shard are named."""
    return f"{attempt_prefix(attempt)}{shard:04d}"


def attempt_of(path: Path) -> int:
    """The number of the attempt whose journal this is."""
    return int(path.name.partition("-")[0])


def key_of(row: Row) -> Key:
    """The primary key of a row."""
    return row["question_id"], row["sample"]


async def answers(
    failures: Iterable[Failure],
    oracles: Sequence[Oracle],
    config: SpotConfig,
    model_path: Path,
    *,
    at_once: int = 1,
    histories: Mapping[Key, Sequence[Row]] = MappingProxyType({}),
) -> AsyncIterator[Row]:
    """One final row per failure, in the order in which they are finished.

    `at_once`: shards that share the Oracles' connections. `histories`: what was proposed before.
    """
    renderer = PromptRenderer(model_path, config.model, config.prompt)
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
        concurrency = max(connections(oracle, at_once) for oracle in in_order(config.rectify.oracle))
        work = rectify_failures(
            failures, oracles=oracles, judge=judge, concurrency=concurrency, histories=histories
        )
        async with aclosing(work) as rows:
            async for row in rows:
                yield row


@dataclass(frozen=True)
class Answering:
    """Gets an answer to every failure of a shard; see `spot_core.pipeline.shards.Work`.

    Attributes:
        replies: folder of the replies of all runs.
        writer: names the artifact in it.
        attempt: of the stage; tells its shards from those of others.
        secret: finds an API key by the name of its secret, where the shard is worked on.
    """

    config: SpotConfig
    filtered: Artifact
    model_path: Path
    replies: Path
    writer: str
    attempt: int
    portion: Portion
    log_folder: Path
    journals: Journals
    secret: Secret

    def __call__(self, shard: Shard, seen: Seen = unseen) -> None:
        """Adds a row for every failure that has none of this attempt."""
        name = journal_prefix(self.attempt, shard.number)
        done = {key_of(row) for row in self.journals.records(name)}  # before the worker died
        failures = (
            f for f in failures_at(self.filtered, shard.rows) if (f.question_id, f.sample) not in done
        )
        # Under a name of its own, so that its calls count in its part of the budget; all begin as the artifact's does.
        with ReplyJournal(self.replies, writer=f"{self.writer}-{name}") as replies:
            asyncio.run(self._ask(failures, replies, name, seen))

    async def _ask(self, failures: Iterable[Failure], replies: ReplyJournal, name: str, seen: Seen) -> None:
        opened = open_oracles(
            self.config,
            model_path=self.model_path,
            replies=replies,
            log_folder=self.log_folder,
            edits=Edits(),  # what a person has decided does not get here
            secret=self.secret,
            portion=self.portion,
        )
        async with opened as oracles:
            work = answers(failures, oracles, self.config, self.model_path, at_once=self.portion.at_once)
            with self.journals.open(name) as journal:
                async with aclosing(work) as rows:
                    async for row in rows:
                        journal.append(row)
                        seen(row)
