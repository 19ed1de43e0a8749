import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from spot_core.inference.prompts import TurnEnd
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.calculator import CalculatorOracle
from spot_core.rectification.flags import AVOID
from spot_core.rectification.judge import Judge
from spot_core.rectification.rectify import rectify_failures

COLUMNS = {
    "question_id", "sample", "question", "answer", "prompt_token_ids", "response", "response_token_ids", "rectified",
    "rectified_token_ids", "status", "flags", "reason", "change_ratio", "shared_prefix_tokens", "edit_regions",
    "attempts", "oracle", "oracle_input_tokens", "oracle_output_tokens", "cost_usd", "history",
}  # fmt: skip

WRONG = "48+8=46\n46-8=38\nAnswer: \\boxed{38}"
RIGHT = "48+8=56\n56-8=48\nAnswer: \\boxed{48}"


class ScriptedOracle:
    """Proposes what the script says for each attempt, and remembers which reasons it was given.

    A step of the script is an edit, or a tuple of several.
    """

    def __init__(
        self, *script: "Proposal | str | tuple[Proposal | str, ...]", attempts=None, name="scripted"
    ):
        self.name = name
        steps = [step if isinstance(step, tuple) else (step,) for step in script]
        self.script = [[Proposal(text=e) if isinstance(e, str) else e for e in step] for step in steps]
        self.attempts = attempts or len(script)
        self.earlier: list[tuple[str, ...]] = []
        self.most_at_once = self.now = 0

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        self.earlier.append(tuple(earlier))
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


def run(failures, *oracles, tokenizer, check=contains_gold, gamma=0.6, concurrency=4, **limits):
    async def collect():
        end = tokenizer.eos_token_id
        judge = Judge(tokenizer, TurnEnd(frozenset({end}), end), check, gamma=gamma, **limits)
        rows = rectify_failures(failures, oracles=oracles, judge=judge, concurrency=concurrency)
        return [row async for row in rows]

    return asyncio.run(collect())


def test_an_accepted_edit_is_measured_on_token_ids_without_terminators(make_failure, character_tokenizer):
    [row] = run([make_failure()], CalculatorOracle(), tokenizer=character_tokenizer)
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
    [row] = run([make_failure()], ScriptedOracle(proposal), tokenizer=character_tokenizer, **limits)
    assert set(row) == COLUMNS
    assert row["status"] == status
    assert row["reason"]


def test_the_next_attempt_is_told_what_was_wrong(make_failure, character_tokenizer):
    oracle = ScriptedOracle(Proposal(None, "unparseable", "no marker", 10, 5, 0.25), WRONG, RIGHT)
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer)
    assert row["status"] == "accepted"
    assert row["attempts"] == 3
    assert oracle.earlier[:2] == [(), ("no marker",)]
    assert "itself" in oracle.earlier[2][1]
    assert (row["oracle_input_tokens"], row["oracle_output_tokens"], row["cost_usd"]) == (10, 5, 0.25)


@pytest.mark.parametrize("status", ["oracle_error", "not_asked"])
def test_an_oracle_that_cannot_answer_is_not_asked_again(make_failure, character_tokenizer, status):
    oracle = ScriptedOracle(Proposal(None, status, "no"), RIGHT)
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer)
    assert (row["status"], row["attempts"]) == (status, 1)


def test_each_failure_gets_one_row_and_the_concurrency_is_bounded(make_failure, character_tokenizer):
    oracle = ScriptedOracle(RIGHT)
    rows = run((make_failure(n) for n in range(50)), oracle, tokenizer=character_tokenizer, concurrency=7)
    assert sorted(row["question_id"] for row in rows) == sorted(f"q{n}" for n in range(50))
    assert oracle.most_at_once == 7


def test_a_blocking_check_runs_off_the_event_loop(make_failure, character_tokenizer):
    seen = []

    def check(response: str, failure: Failure) -> str:
        seen.append(threading.current_thread() is threading.main_thread())
        return "correct"

    run([make_failure()], ScriptedOracle(RIGHT), tokenizer=character_tokenizer, check=check)
    assert seen == [False]


def test_only_a_correct_answer_is_accepted_and_the_reason_names_the_verdict(
    make_failure, character_tokenizer
):
    def check(response: str, failure: Failure) -> str:
        return "timeout"

    [row] = run([make_failure()], ScriptedOracle(RIGHT), tokenizer=character_tokenizer, check=check)
    assert row["status"] == "wrong_answer"
    assert "timeout" in row["reason"]


def test_a_response_cut_at_the_limit_still_gets_an_end(make_failure, character_tokenizer):
    [row] = run([make_failure(finish_reason="length")], ScriptedOracle(RIGHT), tokenizer=character_tokenizer)
    assert row["rectified_token_ids"][-1] == character_tokenizer.eos_token_id
    assert row["change_ratio"] == pytest.approx(4 / 20)


def test_no_failures_give_no_rows(character_tokenizer):
    assert run([], ScriptedOracle(RIGHT), tokenizer=character_tokenizer) == []


def test_an_unexpected_error_is_not_swallowed(make_failure, character_tokenizer):
    def check(response: str, failure: Failure) -> str:
        raise RuntimeError("checker broke")

    with pytest.raises(RuntimeError, match="checker broke"):
        run(
            [make_failure(n) for n in range(5)],
            ScriptedOracle(RIGHT),
            tokenizer=character_tokenizer,
            check=check,
        )


def test_of_several_samples_the_smallest_accepted_edit_is_kept(make_failure, character_tokenizer):
    longer = RIGHT.replace("Answer", "So the Answer")
    oracle = ScriptedOracle((longer, RIGHT, RIGHT.replace("{48}", "{47}"), WRONG))
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer)
    assert (row["status"], row["rectified"], row["attempts"]) == ("accepted", RIGHT, 1)
    assert [entry["status"] for entry in row["history"]] == [
        "unchanged",
        "wrong_answer",
        "accepted",
        "accepted",
    ]
    assert row["history"][-1]["change_ratio"] == row["change_ratio"]  # the best one last


def test_a_chain_asks_each_oracle_about_what_those_before_it_could_not_rectify(
    make_failure, character_tokenizer
):
    cheap = ScriptedOracle(WRONG, RIGHT.replace("{48}", "{47}"), name="cheap")
    strong = ScriptedOracle(Proposal(None, "unparseable", "no marker", 10, 5, 0.25), RIGHT, name="strong")
    never = ScriptedOracle(RIGHT, name="never")
    [row] = run([make_failure()], cheap, strong, never, tokenizer=character_tokenizer)
    assert (row["status"], row["oracle"], row["attempts"]) == ("accepted", "strong", 4)
    assert [(entry["oracle"], entry["attempt"], entry["status"]) for entry in row["history"]] == [
        ("cheap", 1, "unchanged"),
        ("cheap", 2, "wrong_answer"),
        ("strong", 1, "unparseable"),
        ("strong", 2, "accepted"),
    ]
    assert strong.earlier == [(), ("no marker",)]  # what another Oracle did wrong is not its business
    assert never.earlier == []
    assert row["cost_usd"] == 0.25


@pytest.mark.parametrize("status", ["oracle_error", "not_asked"])
def test_an_oracle_that_cannot_answer_leaves_the_failure_to_the_next(
    make_failure, character_tokenizer, status
):
    out = ScriptedOracle(Proposal(None, status, "no"), RIGHT, name="out")
    [row] = run([make_failure()], out, ScriptedOracle(RIGHT, name="next"), tokenizer=character_tokenizer)
    assert (row["status"], row["oracle"], len(out.earlier)) == ("accepted", "next", 1)


def test_a_failure_that_waits_for_a_person_is_not_given_to_anybody_else(make_failure, character_tokenizer):
    person = ScriptedOracle(Proposal(None, "pending", "waits"), name="person")
    [row] = run([make_failure()], person, ScriptedOracle(RIGHT), tokenizer=character_tokenizer)
    assert (row["status"], row["oracle"]) == ("pending", "person")


def test_after_a_final_proposal_the_same_oracle_is_not_asked_again(make_failure, character_tokenizer):
    skips = ScriptedOracle(Proposal(None, "refused", "no", final=True), RIGHT)
    [row] = run([make_failure()], skips, tokenizer=character_tokenizer)
    assert (row["status"], row["reason"], row["attempts"]) == ("refused", "no", 1)


def test_an_edit_with_an_excluded_flag_is_asked_for_again(make_failure, character_tokenizer):
    only_the_answer = WRONG.replace("{38}", "{48}")
    oracle = ScriptedOracle(only_the_answer, RIGHT)
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer, exclude=frozenset({"answer_only"}))
    assert (row["status"], row["attempts"]) == ("accepted", 2)
    assert row["history"][0]["status"] == "flagged"
    assert oracle.earlier[1] == (AVOID["answer_only"],)
    [kept] = run([make_failure()], ScriptedOracle(only_the_answer), tokenizer=character_tokenizer)
    assert (kept["status"], kept["flags"]) == ("accepted", ["answer_only"])


def test_half_a_character_makes_an_edit_unparseable_and_not_the_stage_fail(make_failure, character_tokenizer):
    oracle = ScriptedOracle(RIGHT + " \ud83d", RIGHT)
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer)
    assert [entry["status"] for entry in row["history"]] == ["unparseable", "accepted"]


@pytest.mark.parametrize("status", ["oracle_error", "not_asked"])
def test_a_sample_that_was_not_answered_keeps_the_row_open(make_failure, character_tokenizer, status):
    wrong = RIGHT.replace("{48}", "{47}")
    oracle = ScriptedOracle((wrong, Proposal(None, status, "no")))
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer)
    assert row["status"] == status
    accepted = ScriptedOracle((RIGHT, Proposal(None, status, "no")))
    [row] = run([make_failure()], accepted, tokenizer=character_tokenizer)
    assert row["status"] == "accepted"


def test_the_row_tells_of_the_best_attempt(make_failure, character_tokenizer):
    wrong = RIGHT.replace("{48}", "{47}")
    oracle = ScriptedOracle(wrong, RIGHT, Proposal(None, "unparseable", "no marker"))
    [row] = run([make_failure()], oracle, tokenizer=character_tokenizer, gamma=0.1)
    assert (row["status"], row["rectified"], row["attempts"]) == ("too_different", RIGHT, 3)
