"""Our side, with all that the stage does for a row but its check: loop, prompt, request hash, budget, journals, parsing."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from benchmarks.oracle_client.rows import failure
from benchmarks.oracle_client.side import Options, run_side
from spot_core.config.oracle import OpenAIOracleConfig, Price
from spot_core.inference.client import ModelClient
from spot_core.inference.limits import CircuitBreaker
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.budget import Budget
from spot_core.oracles.model import ModelOracle
from spot_core.oracles.replies import ReplyJournal
from spot_core.rectification.judge import Judged
from spot_core.rectification.rectify import rectify_failures
from spot_core.store.journal import Journal


class Ours:
    """Rectifies failures with so many calls in flight; results are in journals of ``folder``."""

    def __init__(self, address: str, folder: Path, *, concurrency: int, stream: bool) -> None:
        self._config = OpenAIOracleConfig(
            model="teacher", base_url=address, concurrency=concurrency, stream=stream, max_cost_usd=1e6
        )
        self._client = ModelClient(
            base_url=address,
            api_key="no-key",
            timeout_seconds=self._config.timeout_seconds,
            max_retries=self._config.max_retries,
            connections=concurrency,
            breaker=CircuitBreaker(self._config.outage_after),
            stream=stream,
        )
        self._folder = folder

    async def rectify(self, failures: list[Failure]) -> int:
        """Rectifies failures; how many edits came back whole."""
        config, accepted = self._config, 0
        with (
            ReplyJournal(self._folder / "replies", writer="benchmark") as replies,
            Journal(self._folder / "rows.jsonl") as journal,
        ):
            oracle = ModelOracle(
                config,
                name=config.model,
                model=config.model,
                identity=str(config.base_url),
                client=self._client,
                replies=replies,
                price=Price(input=1.25, output=10),
                budget=Budget(limit_usd=config.max_cost_usd),
            )
            async for row in rectify_failures(
                failures, oracles=[oracle], judge=_unchecked, concurrency=config.concurrency
            ):
                journal.append(row)
                accepted += row["status"] == "accepted"
        await self._client.close()
        return accepted


async def _unchecked(failure: Failure, proposal: Proposal) -> Judged:
    """Takes every whole edit: checks and measures are the same for both sides, and run on other cores."""
    return Judged(proposal, proposal.status or "accepted", proposal.reason, rectified=proposal.text)


def _prepare(options: Options) -> Callable[[], int]:
    ours = Ours(options.address, options.folder, concurrency=options.concurrency, stream=options.stream)
    failures = [failure(number) for number in range(options.rows)]
    return lambda: asyncio.run(ours.rectify(failures))


if __name__ == "__main__":
    run_side(_prepare)
