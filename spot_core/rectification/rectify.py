"""The stage's core: every failure becomes one final row, with the Oracle's edit verified and measured."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from spot_core.change_ratio import change_ratio, edit_regions, shared_prefix_length
from spot_core.oracles.base import Failure, Oracle, Proposal
from spot_core.rectification.tokens import rectified_token_ids, without_terminator

Row = dict[str, Any]
# (response, the failure it corrects) → verdict word; `correct` is the one that counts. May block: it is called in a thread.
Check = Callable[[str, Failure], str]

CORRECT = "correct"
RETOKENIZED = "retokenized"  # flag: no sampled ids could be kept although the texts begin alike
INEXACT_TOKENS = "inexact_tokens"  # flag: decoding the ids does not give the rectified text
ASK_AGAIN = frozenset({"wrong_answer", "too_different", "unchanged", "unparseable", "too_long", "refused"})


async def rectify_failures(
    failures: Iterable[Failure],
    *,
    oracle: Oracle,
    tokenizer: Any,
    check: Check,
    gamma: float,
    max_tokens: int | None,
    concurrency: int,
) -> AsyncIterator[Row]:
    """One final row per failure, in the order in which they are finished.

    `gamma`: largest change ratio that is accepted. `max_tokens`: longest prompt plus y⁺, in tokens of the policy
    (None: no limit). `concurrency`: failures in work at once; `failures` is read lazily. Closing the iterator
    cancels what is in work.
    """
    pending: Iterator[Failure] = iter(failures)
    working: set[asyncio.Task[Row]] = set()

    def start_next() -> None:
        failure = next(pending, None)
        if failure is not None:
            work = rectify_one(
                failure, oracle=oracle, tokenizer=tokenizer, check=check, gamma=gamma, max_tokens=max_tokens
            )
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
    failure: Failure, *, oracle: Oracle, tokenizer: Any, check: Check, gamma: float, max_tokens: int | None
) -> Row:
    """The final row of one failure: asks up to `oracle.attempts` times, each time saying what was wrong before."""
    feedback: str | None = None
    tokens_in = tokens_out = attempt = 0
    cost = 0.0
    while True:
        attempt += 1
        proposal = await oracle.propose(failure, feedback=feedback, attempt=attempt)
        tokens_in += proposal.input_tokens
        tokens_out += proposal.output_tokens
        cost += proposal.cost_usd
        judged = await _judge(
            failure, proposal, tokenizer=tokenizer, check=check, gamma=gamma, max_tokens=max_tokens
        )
        if judged["status"] not in ASK_AGAIN or attempt >= oracle.attempts:
            break
        feedback = judged["reason"]
    return {
        "question_id": failure.question_id,
        "sample": failure.sample,
        "question": failure.question,
        "answer": failure.answer,
        "prompt_token_ids": list(failure.prompt_token_ids),
        "response": failure.response,
        "response_token_ids": list(failure.response_token_ids),
        **judged,
        "attempts": attempt,
        "oracle": oracle.name,
        "oracle_input_tokens": tokens_in,
        "oracle_output_tokens": tokens_out,
        "cost_usd": cost,
    }


async def _judge(
    failure: Failure,
    proposal: Proposal,
    *,
    tokenizer: Any,
    check: Check,
    gamma: float,
    max_tokens: int | None,
) -> Row:
    """What became of one proposal: its text and ids, the measures of the edit, status and reason."""
    rectified = proposal.text
    if rectified is None:
        return _outcome(proposal.status, proposal.reason)
    if rectified == failure.response:
        return _outcome("unchanged", "the proposal is the response itself")
    measured = _measure(failure, rectified, tokenizer)
    verdict = await asyncio.to_thread(check, rectified, failure)
    length = len(failure.prompt_token_ids) + len(measured["rectified_token_ids"])
    if verdict != CORRECT:
        status, reason = "wrong_answer", f"the answer of the edited solution was judged {verdict}"
    elif measured["change_ratio"] > gamma:
        status = "too_different"
        reason = f"the edit changes {measured['change_ratio']:.3f} of the solution, more than {gamma:g}"
    elif max_tokens is not None and length > max_tokens:
        status, reason = (
            "too_long",
            f"prompt and edited solution have {length} tokens, more than {max_tokens}",
        )
    else:
        status, reason = "accepted", ""
    return _outcome(status, reason) | measured


def _outcome(status: str | None, reason: str) -> Row:
    assert status is not None
    return {
        "rectified": None,
        "rectified_token_ids": None,
        "status": status,
        "flags": [],
        "reason": reason,
        "change_ratio": None,
        "shared_prefix_tokens": None,
        "edit_regions": None,
    }


def _measure(failure: Failure, rectified: str, tokenizer: Any) -> Row:
    """Ids of y⁺ and the size of the edit on token ids; terminators take no part in the measures."""
    eos_token_id = tokenizer.eos_token_id
    assert eos_token_id is not None, "the policy's tokenizer was checked for an end-of-turn token"
    stopped = failure.finish_reason != "length"
    tokens = rectified_token_ids(
        tokenizer,
        response=failure.response,
        response_token_ids=failure.response_token_ids,
        rectified=rectified,
        eos_token_id=eos_token_id,
        stopped=stopped,
    )
    chosen = tokens.ids[:-1]
    rejected = list(failure.response_token_ids)
    if stopped:
        special_ids = frozenset(tokenizer.all_special_ids)
        rejected = without_terminator(rejected, eos_token_id=eos_token_id, special_ids=special_ids)
    return {
        "rectified": rectified,
        "rectified_token_ids": tokens.ids,
        "flags": [RETOKENIZED] * tokens.retokenized + [INEXACT_TOKENS] * (not tokens.exact),
        "change_ratio": change_ratio(rejected, chosen),
        "shared_prefix_tokens": shared_prefix_length(rejected, chosen),
        "edit_regions": len(edit_regions(rejected, chosen)),
    }
