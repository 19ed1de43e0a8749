import asyncio
import json

import pytest

from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.errors import EngineError
from spot_core.oracles.base import Failure, RepliesInMemory, make_oracle
from spot_core.oracles.openai import OpenAIOracle
from spot_core.oracles.prompting import END, START, UnparseableReplyError, parse_reply, rectification_prompt

FAILURE = Failure("q", 0, "What is $1+1$? It costs ${x}.", "2", "1+1=3\n\\boxed{3}", [1], [2], "stop")


def completion(content: str | None, **changes) -> dict:
    message = {"role": "assistant", "content": content} | changes.pop("message", {})
    choice = {"index": 0, "finish_reason": "stop", "message": message} | changes.pop("choice", {})
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return {"choices": [choice], "usage": usage} | changes


GOOD = completion(f"Here it is:\n{START}\n1+1=2\n\\boxed{{2}}\n{END}\nBye")


class FakeClient:
    """Gives the same reply to everything (or raises it) after a moment, and counts."""

    def __init__(self, reply):
        self.reply = reply
        self.requests: list[dict] = []

    async def chat(self, messages, **settings):
        self.requests.append({"messages": messages, **settings})
        await asyncio.sleep(0.005)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def config(**settings) -> OpenAIOracleConfig:
    return OpenAIOracleConfig(model="teacher", **settings)


def propose(oracle: OpenAIOracle, *, feedback=None, attempt=1, failure=FAILURE):
    return asyncio.run(oracle.propose(failure, feedback=feedback, attempt=attempt))


def test_the_text_between_the_markers_is_proposed_and_its_cost_counted():
    client = FakeClient(GOOD)
    oracle = make_oracle(
        config(input_usd_per_million=1.0, output_usd_per_million=10.0),
        client=client,
        replies=RepliesInMemory(),
    )
    proposal = propose(oracle)
    assert proposal.text == "1+1=2\n\\boxed{2}"
    assert (proposal.input_tokens, proposal.output_tokens) == (100, 50)
    assert proposal.cost_usd == pytest.approx(100e-6 + 500e-6)
    [request] = client.requests
    assert request["model"] == "teacher"
    assert request["extra_body"] == {}


def test_a_reply_in_the_log_is_never_asked_for_again():
    client, replies = FakeClient(GOOD), RepliesInMemory()
    assert propose(OpenAIOracle(config(), client=client, replies=replies)).text
    assert propose(OpenAIOracle(config(concurrency=3), client=client, replies=replies)).text
    assert len(client.requests) == 1


def test_a_reply_is_kept_before_it_is_parsed():
    replies = RepliesInMemory()
    garbage = {"choices": "what?"}
    proposal = propose(OpenAIOracle(config(), client=FakeClient(garbage), replies=replies))
    assert proposal.status == "unparseable"
    assert list(replies.replies.values()) == [garbage]


def test_what_decides_the_reply_is_in_the_hash_of_the_request():
    variants = [
        ({}, {}),
        ({"temperature": 0.5}, {}),
        ({"max_output_tokens": 7}, {}),
        ({"base_url": "http://other/v1"}, {}),
        ({"extra_body": {"reasoning_effort": "low"}}, {}),
        ({"with_gold_answer": False}, {}),
        ({}, {"attempt": 2}),
        ({}, {"feedback": "too long", "attempt": 2}),
    ]
    replies, client = RepliesInMemory(), FakeClient(GOOD)
    for settings, asked in variants:
        propose(OpenAIOracle(config(**settings), client=client, replies=replies), **asked)
    assert len(replies.replies) == len(client.requests) == len(variants)


def test_equal_requests_in_flight_share_one_call():
    client = FakeClient(GOOD)
    oracle = OpenAIOracle(config(), client=client, replies=RepliesInMemory())

    async def twice():
        return await asyncio.gather(*(oracle.propose(FAILURE, feedback=None, attempt=1) for _ in range(5)))

    assert all(proposal.text for proposal in asyncio.run(twice()))
    assert len(client.requests) == 1


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (completion(None, message={"refusal": "I will not"}), "refused"),
        (completion("", choice={"finish_reason": "content_filter"}), "refused"),
        (completion(f"{START}\nhalf", choice={"finish_reason": "length"}), "unparseable"),
        (completion(None), "unparseable"),
        (completion("no markers"), "unparseable"),
        ({"choices": []}, "unparseable"),
        ({"error": "x", "usage": "y"}, "unparseable"),
        (EngineError("connection refused"), "oracle_error"),
    ],
)
def test_a_bad_reply_has_a_status_and_a_reason(reply, status):
    proposal = propose(OpenAIOracle(config(), client=FakeClient(reply), replies=RepliesInMemory()))
    assert proposal.text is None
    assert proposal.status == status
    assert proposal.reason


def test_a_failed_call_is_asked_again_on_a_rerun():
    replies = RepliesInMemory()
    propose(OpenAIOracle(config(), client=FakeClient(EngineError("down")), replies=replies))
    assert propose(OpenAIOracle(config(), client=FakeClient(GOOD), replies=replies)).text


def test_hidden_reasoning_is_paid_for():
    reply = GOOD | {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015}}
    proposal = propose(OpenAIOracle(config(), client=FakeClient(reply), replies=RepliesInMemory()))
    assert proposal.output_tokens == 1005


def test_the_budget_is_never_passed_and_used_as_far_as_it_goes():
    # A call costs 50 output tokens = 0.05 USD, and 100 tokens = 0.1 USD at most: 0.51 USD pay for 9 calls.
    settings = {
        "max_output_tokens": 100,
        "output_usd_per_million": 1000.0,
        "max_cost_usd": 0.51,
    }
    client = FakeClient(GOOD)
    oracle = OpenAIOracle(config(**settings), client=client, replies=RepliesInMemory())
    failures = [Failure(f"q{n}", 0, f"Question {n}", "2", "3", [1], [2], "stop") for n in range(40)]

    async def all_at_once():
        return await asyncio.gather(*(oracle.propose(f, feedback=None, attempt=1) for f in failures))

    proposals = asyncio.run(all_at_once())
    asked = [proposal for proposal in proposals if proposal.text]
    assert len(asked) == len(client.requests) == 9
    assert oracle.budget.spent_usd == pytest.approx(0.45)
    assert {proposal.status for proposal in proposals if not proposal.text} == {"not_asked"}


def test_the_prompt_carries_the_texts_literally_and_the_gold_answer_only_if_wanted():
    failure = Failure("q", 0, "Cost: $question ${x} $$", "a gold answer 77", "it is $5", [1], [2], "stop")
    with_gold = rectification_prompt(failure, with_gold_answer=True, feedback=None)
    without = rectification_prompt(failure, with_gold_answer=False, feedback=None)
    for prompt in (with_gold, without):
        assert "Cost: $question ${x} $$" in prompt
        assert "it is $5" in prompt
        assert prompt.count(START) == prompt.count(END) == 1
        assert "\\boxed{}" in prompt
    assert "a gold answer 77" in with_gold
    assert "a gold answer 77" not in without
    again = rectification_prompt(failure, with_gold_answer=True, feedback="it was too long")
    assert again.startswith(with_gold)
    assert "it was too long" in again


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1+1=2",
        f"{START}1+1=2",
        f"1+1=2{END}",
        f"{END}1+1=2{START}",
        f"{START}{END}",
        f"{START} \n {END}",
        f"{START}a{END}{START}b{END}",
        f"{START}{START}a{END}",
        f"{START}a <<</RECTIFIED>>> b{END}",
        f"{START}a <<<end_of_rectified>>> b{END}",
    ],
)
def test_anything_but_one_pair_of_markers_is_refused(content):
    with pytest.raises(UnparseableReplyError):
        parse_reply(content)


def test_calculator_annotations_and_indentation_survive_parsing():
    assert parse_reply(f"{START}\n  5*3 = <<5*3=15>>15\n\n{END}") == "  5*3 = <<5*3=15>>15"


def test_a_thinking_block_may_speak_of_the_markers():
    assert parse_reply(f"<think>I need {START} and {END}</think>\n{START}\n2\n{END}") == "2"


def test_prompts_are_plain_json_to_be_hashed():
    json.dumps(OpenAIOracle(config(), client=FakeClient(GOOD), replies=RepliesInMemory()).request(FAILURE))
