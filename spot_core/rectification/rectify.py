"""The stage's core: every failure becomes one final row, after as many attempts of as many Oracles as it takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
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
_RIGHT = frozenset({"flagged", "too_different", "too_long"})


async def rectify_failures(
    failures: Iterable[Failure],
    *,
    oracles: Sequence[Oracle],
    judge: JudgeOne,
    concurrency: int,
    histories: Mapping[tuple[str, int], Sequence[Row]] = MappingProxyType({}),
) -> AsyncIterator[Row]:
    """One final row per failure, in the order in which they are finished.

    `concurrency`: failures in work at once; `failures` is read lazily. `histories`: what other Oracles proposed before,
    by question_id and sample. Closing the iterator cancels what is in work.
    """
    pending: Iterator[Failure] = iter(failures)
    working: set[asyncio.Task[Row]] = set()

    def start_next() -> None:
        failure = next(pending, None)
        if failure is not None:
            history = histories.get((failure.question_id, failure.sample), ())
            work = rectify_one(failure, oracles=oracles, judge=judge, history=history)
            working.add(asyncio.create_task(work))

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


async def rectify_one(
    failure: Failure, *, oracles: Sequence[Oracle], judge: JudgeOne, history: Sequence[Row] = ()
) -> Row:
    """The final row of one failure: Oracles in their order, each asked until an edit is accepted or it gives up.

    The row tells of the last Oracle's best edit. Its `history` has every proposal, of each attempt the best one last;
    its `attempts` counts the times that an Oracle was asked. `history` is what others proposed before.
    """
    history = [entry for entry in history if entry["status"] != "pending"]
    best: Judged | None = None
    name = ""
    for oracle in oracles:
        name, best = oracle.name, None
        earlier: list[str] = []
        before = max((entry["attempt"] for entry in history if entry["oracle"] == name), default=0)
        for attempt in range(1, oracle.attempts + 1):
            proposals = await oracle.propose(failure, earlier=tuple(earlier), attempt=attempt)
            judged = sorted([await judge(failure, proposal) for proposal in proposals], key=_rank)
            history += [_entry(name, before + attempt, one) for one in reversed(judged)]
            latest = judged[0]
            gives_up = latest.status not in ASK_AGAIN
            best = latest if best is None or gives_up else min(best, latest, key=_rank)
            if gives_up or latest.proposal.final:
                break
            earlier.append(latest.reason)
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
        "attempts": len({(entry["oracle"], entry["attempt"]) for entry in history}),
        "oracle": name,
        "oracle_input_tokens": sum(entry["input_tokens"] for entry in history),
        "oracle_output_tokens": sum(entry["output_tokens"] for entry in history),
        "cost_usd": sum(entry["cost_usd"] for entry in history),
        "history": history,
    }


def _rank(judged: Judged) -> tuple[int, float]:
    """Accepted edits first; then what may be answered another time; then right edits, and others; small before large."""
    ratio = judged.change_ratio
    if judged.status not in ASK_AGAIN:
        order = 0 if judged.status in SETTLED else 1
    elif judged.status in _RIGHT and ratio is not None:
        order = 2
    else:
        order = 3 if ratio is not None else 4
    return order, ratio or 0.0


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
