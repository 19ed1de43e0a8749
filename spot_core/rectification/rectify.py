"""The stage's core: every failure becomes one final row, after as many attempts of as many Oracles as it takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from spot_core.oracles.base import Failure, Oracle, Proposal
from spot_core.rectification.judge import Judged

Row = dict[str, Any]
JudgeOne = Callable[[Failure, Proposal], Awaitable[Judged]]

ASK_AGAIN = frozenset(
    {"wrong_answer", "too_different", "unchanged", "unparseable", "too_long", "refused", "flagged"}
)
"""Statuses after which the same Oracle is asked again. After all but these, `accepted` and `pending`, the next is."""
SETTLED = frozenset({"accepted", "pending"})


async def rectify_failures(
    failures: Iterable[Failure], *, oracles: Sequence[Oracle], judge: JudgeOne, concurrency: int
) -> AsyncIterator[Row]:
    """One final row per failure, in the order in which they are finished.

    `concurrency`: failures in work at once; `failures` is read lazily. Closing the iterator cancels what is in work.
    """
    pending: Iterator[Failure] = iter(failures)
    working: set[asyncio.Task[Row]] = set()

    def start_next() -> None:
        failure = next(pending, None)
        if failure is not None:
            working.add(asyncio.create_task(rectify_one(failure, oracles=oracles, judge=judge)))

    try:
        for _ in range(concurrency):
            start_next()
        while working:
            finished, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                working.discard(task)
                start_next()
                yield task.result()
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def rectify_one(failure: Failure, *, oracles: Sequence[Oracle], judge: JudgeOne) -> Row:
    """The final row of one failure: Oracles in their order, each asked until an edit is accepted or it gives up.

    The row tells of the last Oracle's best edit. Its `history` has every proposal, its `attempts` counts the times
    that an Oracle was asked.
    """
    history: list[Row] = []
    attempts = 0
    best: Judged | None = None
    name = ""
    for oracle in oracles:
        name = oracle.name
        earlier: list[str] = []
        for attempt in range(1, oracle.attempts + 1):
            proposals = await oracle.propose(failure, earlier=tuple(earlier), attempt=attempt)
            judged = [await judge(failure, proposal) for proposal in proposals]
            attempts += 1
            history += [_entry(oracle.name, attempt, one) for one in judged]
            best = min(judged, key=_rank)
            if best.status not in ASK_AGAIN or best.proposal.final:
                break
            earlier.append(best.reason)
        if best is not None and best.status in SETTLED:
            break
    assert best is not None, "there is at least one Oracle, and it is asked at least once"
    return {
        "question_id": failure.question_id,
        "sample": failure.sample,
        "question": failure.question,
        "answer": failure.answer,
        "prompt_token_ids": list(failure.prompt_token_ids),
        "response": failure.response,
        "response_token_ids": list(failure.response_token_ids),
        "rectified": best.rectified,
        "rectified_token_ids": None if best.rectified_token_ids is None else list(best.rectified_token_ids),
        "status": best.status,
        "reason": best.reason,
        "flags": list(best.flags),
        "change_ratio": best.change_ratio,
        "shared_prefix_tokens": best.shared_prefix_tokens,
        "edit_regions": best.edit_regions,
        "attempts": attempts,
        "oracle": name,
        "oracle_input_tokens": sum(entry["input_tokens"] for entry in history),
        "oracle_output_tokens": sum(entry["output_tokens"] for entry in history),
        "cost_usd": sum(entry["cost_usd"] for entry in history),
        "history": history,
    }


def _rank(judged: Judged) -> tuple[bool, bool, float]:
    """Accepted edits first, the smallest of them before all; then those that can be measured."""
    ratio = judged.change_ratio
    return judged.status != "accepted", ratio is None, ratio or 0.0


def _entry(oracle: str, attempt: int, judged: Judged) -> Row:
    return {
        "attempt": attempt,
        "oracle": oracle,
        "status": judged.status,
        "reason": judged.reason,
        "change_ratio": judged.change_ratio,
        "input_tokens": judged.proposal.input_tokens,
        "output_tokens": judged.proposal.output_tokens,
        "cost_usd": judged.proposal.cost_usd,
    }
