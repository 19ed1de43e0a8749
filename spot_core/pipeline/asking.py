"""Asks the Oracles: opens them, tells what it will take, verifies what they say, and keeps every row at once."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spot_core.artifacts import ArtifactWriter
from spot_core.artifacts.journal import Journal
from spot_core.config.oracle import in_order
from spot_core.config.spot import SpotConfig
from spot_core.errors import PersonNeededError
from spot_core.models import load_tokenizer
from spot_core.oracles.base import Failure, Oracle
from spot_core.oracles.human import Edits
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.filter import item_of, open_checker
from spot_core.pipeline.oracles import Secret, no_secrets, open_oracles
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.running_cost import RunningCost
from spot_core.rectification.estimate import Estimate, estimate
from spot_core.rectification.judge import Judge
from spot_core.rectification.rectify import rectify_failures
from spot_core.report.estimate_page import estimate_page

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
        journal: takes the rows.
        replies: what was answered before, and is now.
        edits: what a person has decided so far.
        done: failures that are finished already.
    """

    writer: ArtifactWriter
    config: SpotConfig
    model_path: Path
    journal: Journal
    replies: ReplyJournal
    edits: Edits
    attended: Attended
    done: int

    async def about(self, failures: list[Failure]) -> None:
        """Rows into the journal, one by one as they are finished."""
        config = self.config
        tokenizer = load_tokenizer(self.model_path, trust_remote_code=config.model.trust_remote_code)
        oracles = open_oracles(
            config,
            model_path=self.model_path,
            replies=self.replies,
            log_folder=self.writer.folder.parent / "logs",
            edits=self.edits,
            secret=self.attended.secret,
        )
        async with oracles as opened:
            self._confirm(failures, opened)
            with open_checker(config.filter) as pool:

                def check(response: str, failure: Failure) -> str:
                    row = dataclasses.asdict(failure) | {"finish_reason": None}
                    return pool.check_item(item_of(config.filter, response, row)).verdict

                judge = Judge(
                    tokenizer,
                    check,
                    gamma=config.rectify.gamma,
                    max_tokens=config.train.context_length,
                    exclude=frozenset(config.rectify.exclude_flags),
                )
                concurrency = max(getattr(o, "concurrency", 1) for o in in_order(config.rectify.oracle))
                rectify = partial(rectify_failures, judge=judge, concurrency=concurrency)
                # What a person has decided is nobody else's business; what was proposed before stays in the row.
                decided = [f for f in failures if (f.question_id, f.sample) in self.edits]
                others = [f for f in failures if (f.question_id, f.sample) not in self.edits]
                before = {(row["question_id"], row["sample"]): row["history"] for row in self.journal}
                cost = RunningCost(opened, rows=len(failures))
                total = self.done + len(failures)
                for some, asked, histories in (
                    (decided, opened[-1:], before),  # a person is the last
                    (others, opened, {}),
                ):
                    async with aclosing(rectify(some, oracles=asked, histories=histories)) as rows:
                        async for row in rows:
                            self.journal.append(row)
                            self.done += 1
                            self.attended.on_progress(self.done, total, note=cost.after(row))

    def _confirm(self, failures: list[Failure], oracles: Sequence[Oracle]) -> None:
        """Tells what asking will take, and leaves it to a person if it is much."""
        if (told := estimate(failures, oracles)) is None:
            return
        log.info("before the first call: %s. The first prompt:\n%s", told, told.first_prompt)
        self.attended.on_estimate(told)
        limit = self.config.rectify.confirm_above_usd
        key = f"cost-{self.writer.recipe.key}-{self.writer.generation}"
        if limit is not None and told.usd > limit and key not in self.attended.confirmed:
            raise PersonNeededError(
                f"the Oracle will cost about ${told.usd:,.2f}, more than rectify.confirm_above_usd = {limit:g}: {told}. "
                f"If that is all right, resume the run, or call run.confirm({key!r}) and the stage again",
                page=f"Resume this run to spend about ${told.usd:,.2f}; cancel it not to.\n\n{estimate_page(told)}",
                wait_days=CONFIRM_DAYS,
                key=key,
            )
