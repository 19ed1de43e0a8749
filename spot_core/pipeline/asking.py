"""Asks the Oracles: opens them, tells what it will take, and has every failure answered, here or shard by shard."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spot_core.artifacts import Artifact, ArtifactWriter
from spot_core.config.oracle import OpenAIOracleConfig, in_order
from spot_core.config.spot import SpotConfig
from spot_core.errors import PersonNeededError
from spot_core.oracles.base import Oracle
from spot_core.oracles.budget import Spending
from spot_core.oracles.human import Edits, Key
from spot_core.oracles.model import ModelOracle
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.answering import (
    Answering,
    Row,
    answers,
    attempt_of,
    attempt_prefix,
    journal_prefix,
    key_of,
)
from spot_core.pipeline.failures import failures_at
from spot_core.pipeline.oracles import Secret, no_secrets, open_oracles
from spot_core.pipeline.portions import Portion
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.running_cost import RunningCost, spent_usd
from spot_core.pipeline.shards import Journals, Mapper, Seen, divided, require_shown
from spot_core.rectification.estimate import Estimate, estimate

log = logging.getLogger(__name__)

CONFIRM_DAYS = 30.0
"""How long an estimate waits to be confirmed."""


@dataclass(frozen=True)
class Attended:
    """How the stage deals with those who watch it.

    Attributes:
        on_progress: how far it is, and what it cost so far.
        on_estimate: told before the first call what asking will take.
        confirmed: what a person has agreed to, by the keys of `PersonNeededError`.
        secret: finds an API key by the name of its secret.
    """

    on_progress: Progress = silent
    on_estimate: Callable[[Estimate], None] = lambda estimate: None
    confirmed: frozenset[str] = frozenset()
    secret: Secret = no_secrets


@dataclass
class Asking:
    """One attempt of the stage to get an answer to every failure that has none.

    Attributes:
        filtered: holds the failures.
        journals: take the rows.
        edits: what a person has decided so far.
        done: failures that are finished already.
        mapper: has failures worked on elsewhere; None: all is done in this process.
    """

    writer: ArtifactWriter
    config: SpotConfig
    model_path: Path
    filtered: Artifact
    replies: Path
    journals: Journals
    edits: Edits
    attended: Attended
    done: int
    mapper: Mapper | None = None

    def about(self, failures: Mapping[int, Key]) -> int:
        """Rows into the journals as they are finished.

        Args:
            failures: rows of the filter artifact, with their keys.

        Returns:
            How many calls were lost with processes that were killed, and made again.
        """
        # What a person has decided is nobody else's business.
        decided = [row for row, key in failures.items() if key in self.edits]
        others = [row for row, key in failures.items() if key not in self.edits]
        mapper = self.mapper if others and self._can_be_elsewhere() else None
        with ReplyJournal(self.replies, writer=self._name) as replies:
            if lost := _lost(replies):
                log.warning(
                    "%d calls were in flight when an earlier attempt was killed; they are made again", lost
                )
            work = self._here(decided, others, replies, elsewhere=mapper is not None)
            spent = asyncio.run(work)
        if mapper is not None:
            self._elsewhere(mapper, others, spent)
            if spent:
                with ReplyJournal(self.replies, writer=self._name) as replies:
                    lost = _lost(replies)  # of shards whose worker died, too
        return lost

    @property
    def _name(self) -> str:
        """Names the artifact among the replies."""
        return f"{self.writer.recipe.key}-{self.writer.generation}"

    @cached_property
    def _attempt(self) -> int:
        return max((attempt_of(path) for path in self.journals.paths()), default=-1) + 1

    def _can_be_elsewhere(self) -> bool:
        if self.mapper is None:
            return False
        served = [o.kind for o in in_order(self.config.rectify.oracle) if o.kind in ("vllm", "self")]
        if served:
            log.info(
                "an Oracle of the kind %r is served on this machine, so the failures are rectified here and not shard "
                "by shard; one that is served elsewhere, and named as of the kind 'openai', is asked by shards",
                served[0],
            )
        return not served

    async def _here(
        self, decided: list[int], others: list[int], replies: ReplyJournal, *, elsewhere: bool
    ) -> dict[str, Spending]:
        """Does what is not done elsewhere; returns what the Oracles that are models have spent."""
        oracles = open_oracles(
            self.config,
            model_path=self.model_path,
            replies=replies,
            log_folder=self._log_folder,
            edits=self.edits,
            secret=self.attended.secret,
        )
        async with oracles as opened:
            self._confirm([*decided, *others], opened)
            here = [] if elsewhere else others
            cost = RunningCost(
                spent_usd(opened), rows=len(decided) + len(here), spent=lambda: spent_usd(opened)
            )
            seen = self._noted(cost, left=len(decided) + len(others))
            # A person is the last Oracle, and is told of nothing that has an edit; what was proposed stays in the row.
            if decided:
                await self._answer(decided, opened[-1:], seen, histories=self._histories())
            if here:
                await self._answer(here, opened, seen)
            return {o.name: o.budget.spent for o in opened if isinstance(o, ModelOracle)}

    async def _answer(
        self, rows: list[int], oracles: Sequence[Oracle], seen: Seen, **more: Mapping[Key, Sequence[Row]]
    ) -> None:
        failures = failures_at(self.filtered, rows)
        with self.journals.open(journal_prefix(self._attempt)) as journal:
            work = answers(failures, oracles, self.config, self.model_path, **more)
            async with aclosing(work) as answered:
                async for row in answered:
                    journal.append(row)
                    seen(row)

    def _elsewhere(self, mapper: Mapper, rows: list[int], spent: Mapping[str, Spending]) -> None:
        asked = [o for o in in_order(self.config.rectify.oracle) if isinstance(o, OpenAIOracleConfig)]
        at_once = min([mapper.at_once, *(oracle.concurrency for oracle in asked)])
        shards = divided([rows], mapper.pieces(len(rows)))
        checker = self.config.filter.model_copy(update={"workers": mapper.checking_processes})
        work = Answering(
            config=self.config.model_copy(update={"filter": checker}),
            filtered=self.filtered.fetched(),
            model_path=self.model_path,
            replies=self.replies,
            writer=self._name,
            attempt=self._attempt,
            portion=Portion(at_once, len(shards), spent),
            log_folder=self._log_folder,
            journals=self.journals,
            secret=self.attended.secret,
        )
        cost = RunningCost(sum(some.usd for some in spent.values()), rows=len(rows))
        mapper.run(work, shards, self._noted(cost, left=len(rows)), at_once=at_once)
        prefix = attempt_prefix(self._attempt)
        require_shown(
            self.journals, lambda: len({key_of(r) for r in self.journals.records(prefix)}) >= len(rows)
        )

    @property
    def _log_folder(self) -> Path:
        return self.writer.folder.parent / "logs"

    def _noted(self, cost: RunningCost, *, left: int) -> Seen:
        """Tells of every row; there are ``left`` of them still to come."""
        total = self.done + left

        def seen(row: Row) -> None:
            self.done = min(self.done + 1, total)
            self.attended.on_progress(self.done, total, note=cost.after(row))

        return seen

    def _histories(self) -> dict[Key, Sequence[Row]]:
        return {key_of(row): row["history"] for row in self.journals.records()}

    def _confirm(self, rows: list[int], oracles: Sequence[Oracle]) -> None:
        """Tells what asking will take, and leaves it to a person if it is much."""
        if not any(isinstance(oracle, ModelOracle) for oracle in oracles):
            return
        told = estimate(list(failures_at(self.filtered, rows)), oracles)
        assert told is not None, "there are failures"
        log.info("before the first call: %s. The first prompt:\n%s", told, told.first_prompt)
        self.attended.on_estimate(told)
        limit = self.config.rectify.confirm_above_usd
        key = f"cost-{self._name}"
        if limit is not None and told.usd > limit and key not in self.attended.confirmed:
            raise PersonNeededError(
                f"the Oracle will cost about ${told.usd:,.2f}, more than rectify.confirm_above_usd = {limit:g}: {told}. "
                f"If that is all right, resume the run, or call run.confirm({key!r}) and the stage again",
                page=f"Resume this run to spend about ${told.usd:,.2f}; cancel it not to.\n\n{told.markdown()}",
                wait_days=CONFIRM_DAYS,
                key=key,
            )


def _lost(replies: ReplyJournal) -> int:
    return sum(len(calls) for calls in replies.lost.values())
