import asyncio
import threading
from collections.abc import Callable

import pytest

from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.calculator import CalculatorOracle
from spot_core.rectification.rectify import rectify_failures

COLUMNS = {
    "question_id", "sample", "question", "answer", "prompt_token_ids", "response", "response_token_ids", "rectified",
    "rectified_token_ids", "status", "flags", "reason", "change_ratio", "shared_prefix_tokens", "edit_regions",
    "attempts", "oracle", "oracle_input_tokens", "oracle_output_tokens", "cost_usd",
}  # fmt: skip

WRONG = "48+8=46\n46-8=38\nAnswer: \\boxed{38}"
RIGHT = "48+8=56\n56-8=48\nAnswer: \\boxed{48}"


class ScriptedOracle:
    """Proposes what the script says for each attempt, and remembers the feedback it got."""

    name = "scripted"

    def __init__(self, *script: Proposal | str, attempts: int | None = None):
        self.script = [Proposal(text=step) if isinstance(step, str) else step for step in script]
        self.attempts = attempts or len(script)
        self.feedback: list[str | None] = []
        self.most_at_once = self.now = 0

    async def propose(self, failure: Failure, *, feedback: str | None, attempt: int) -> Proposal:
        self.feedback.append(feedback)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return self.script[attempt - 1]


def contains_gold(response: str, failure: Failure) -> str:
    return "correct" if f"\\boxed{{{failure.answer}}}" in response else "incorrect"


@pytest.fixture
def make_failure(character_tokenizer) -> Callable[..., Failure]:
    def make(number: int = 0, response: str = WRONG, finish_reason: str = "stop") -> Failure:
        ids = character_tokenizer(response, add_special_tokens=False)["input_ids"]
        end = [character_tokenizer.eos_token_id] if finish_reason == "stop" else []
        return Failure(
            f"q{number}", 0, "Compute 48+8-8.", "48", response, ids + end, [1, 2, 3], finish_reason
        )

    return make


def run(failures, oracle, tokenizer, *, check=contains_gold, gamma=0.6, max_tokens=None, concurrency=4):
    async def collect():
        rows = rectify_failures(
            failures,
            oracle=oracle,
            tokenizer=tokenizer,
            check=check,
            gamma=gamma,
            max_tokens=max_tokens,
            concurrency=concurrency,
        )
        return [row async for row in rows]

    return asyncio.run(collect())


def test_an_accepted_edit_is_measured_on_token_ids_without_terminators(make_failure, character_tokenizer):
    [row] = run([make_failure()], CalculatorOracle(), character_tokenizer)
    assert set(row) == COLUMNS
    assert row["status"] == "accepted"
    assert row["rectified"] == RIGHT
    assert row["rectified_token_ids"][-1] == character_tokenizer.eos_token_id
    # 4 digits differ: 5, 5, 4, 4 for 4, 4, 3, 3; y⁺ has 8 + 8 characters, one word token and "48}".
    assert row["change_ratio"] == pytest.approx(4 / 20)
    assert row["edit_regions"] == 4
    assert row["shared_prefix_tokens"] == len("48+8=")
    assert (row["attempts"], row["cost_usd"], row["flags"]) == (1, 0.0, [])


@pytest.mark.parametrize(
    ("proposal", "limits", "status"),
    [
        (RIGHT.replace("{48}", "{47}"), {}, "wrong_answer"),
        (RIGHT, {"gamma": 0.1}, "too_different"),
        (RIGHT, {"max_tokens": 10}, "too_long"),
        (WRONG, {}, "unchanged"),
        (Proposal(text=None, status="refused", reason="no"), {}, "refused"),
        (Proposal(text=None, status="unparseable", reason="no marker"), {}, "unparseable"),
        (Proposal(text=None, status="oracle_error", reason="down"), {}, "oracle_error"),
        (Proposal(text=None, status="not_asked", reason="budget"), {}, "not_asked"),
    ],
)
def test_every_outcome_has_its_status_and_a_reason(
    make_failure, character_tokenizer, proposal, limits, status
):
    [row] = run([make_failure()], ScriptedOracle(proposal), character_tokenizer, **limits)
    assert set(row) == COLUMNS
    assert row["status"] == status
    assert row["reason"]


def test_the_next_attempt_is_told_what_was_wrong(make_failure, character_tokenizer):
    oracle = ScriptedOracle(Proposal(None, "unparseable", "no marker", 10, 5, 0.25), WRONG, RIGHT)
    [row] = run([make_failure()], oracle, character_tokenizer)
    assert row["status"] == "accepted"
    assert row["attempts"] == 3
    assert oracle.feedback[:2] == [None, "no marker"]
    assert "itself" in oracle.feedback[2]
    assert (row["oracle_input_tokens"], row["oracle_output_tokens"], row["cost_usd"]) == (10, 5, 0.25)


@pytest.mark.parametrize("status", ["oracle_error", "not_asked"])
def test_an_oracle_that_cannot_answer_is_not_asked_again(make_failure, character_tokenizer, status):
    oracle = ScriptedOracle(Proposal(None, status, "no"), RIGHT)
    [row] = run([make_failure()], oracle, character_tokenizer)
    assert (row["status"], row["attempts"]) == (status, 1)


def test_each_failure_gets_one_row_and_the_concurrency_is_bounded(make_failure, character_tokenizer):
    oracle = ScriptedOracle(RIGHT)
    rows = run((make_failure(n) for n in range(50)), oracle, character_tokenizer, concurrency=7)
    assert sorted(row["question_id"] for row in rows) == sorted(f"q{n}" for n in range(50))
    assert oracle.most_at_once == 7


def test_a_blocking_check_runs_off_the_event_loop(make_failure, character_tokenizer):
    seen = []

    def check(response: str, failure: Failure) -> str:
        seen.append(threading.current_thread() is threading.main_thread())
        return "correct"

    run([make_failure()], ScriptedOracle(RIGHT), character_tokenizer, check=check)
    assert seen == [False]


def test_only_a_correct_answer_is_accepted_and_the_reason_names_the_verdict(
    make_failure, character_tokenizer
):
    def check(response: str, failure: Failure) -> str:
        return "timeout"

    [row] = run([make_failure()], ScriptedOracle(RIGHT), character_tokenizer, check=check)
    assert row["status"] == "wrong_answer"
    assert "timeout" in row["reason"]


def test_a_response_cut_at_the_limit_still_gets_an_end(make_failure, character_tokenizer):
    [row] = run([make_failure(finish_reason="length")], ScriptedOracle(RIGHT), character_tokenizer)
    assert row["rectified_token_ids"][-1] == character_tokenizer.eos_token_id
    assert row["change_ratio"] == pytest.approx(4 / 20)


def test_no_failures_give_no_rows(character_tokenizer):
    assert run([], ScriptedOracle(RIGHT), character_tokenizer) == []


def test_an_unexpected_error_is_not_swallowed(make_failure, character_tokenizer):
    def check(response: str, failure: Failure) -> str:
        raise RuntimeError("checker broke")

    with pytest.raises(RuntimeError, match="checker broke"):
        run([make_failure(n) for n in range(5)], ScriptedOracle(RIGHT), character_tokenizer, check=check)
