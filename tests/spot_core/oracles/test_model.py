import asyncio
import json

import pytest

from spot_core.config.oracle import OpenAIOracleConfig, Price
from spot_core.errors import DeclinedRequestError, EngineError, OutageError, TooLongError
from spot_core.oracles.base import Failure
from spot_core.oracles.budget import Budget, Spending
from spot_core.oracles.model import ModelOracle
from spot_core.oracles.prompting import END, START
from spot_core.rectification.estimate import estimate

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


class RepliesInMemory:
    """A `ReplyLog` that no other process shares and that ends with the test."""

    def __init__(self) -> None:
        self.replies: dict[str, dict] = {}

    def __contains__(self, request_hash: str) -> bool:
        return request_hash in self.replies

    def get(self, request_hash: str) -> dict | None:
        return self.replies.get(request_hash)

    def claim(self, request_hash: str, *, by: str, worst: tuple[int, int]) -> bool:
        return True

    def put(self, request_hash: str, reply: dict) -> None:
        self.replies[request_hash] = reply

    def failed(self, request_hash: str) -> None:
        """Nothing is noted."""


def oracle_of(client, *, replies=None, price=None, budget=None, identity="", **settings) -> ModelOracle:
    return ModelOracle(
        OpenAIOracleConfig(model="teacher", **settings),
        name="teacher",
        model="teacher",
        identity=identity,
        client=client,
        replies=RepliesInMemory() if replies is None else replies,
        price=price,
        budget=budget,
    )


def propose(oracle: ModelOracle, *, earlier=(), attempt=1, failure=FAILURE):
    [proposal] = asyncio.run(oracle.propose(failure, earlier=earlier, attempt=attempt))
    return proposal


def test_the_text_between_the_markers_is_proposed_and_its_cost_counted():
    client = FakeClient(GOOD)
    proposal = propose(oracle_of(client, price=Price(input=1.0, output=10.0)))
    assert proposal.text == "1+1=2\n\\boxed{2}"
    assert (proposal.input_tokens, proposal.output_tokens) == (100, 50)
    assert proposal.cost_usd == pytest.approx(100e-6 + 500e-6)
    [request] = client.requests
    assert request["model"] == "teacher"
    assert request["extra_body"] == {}
    assert len(request["idempotency_key"]) == 64


def test_a_reply_in_the_log_is_never_asked_for_again():
    client, replies = FakeClient(GOOD), RepliesInMemory()
    assert propose(oracle_of(client, replies=replies)).text
    assert propose(oracle_of(client, replies=replies, concurrency=3, max_cost_usd=1)).text
    assert len(client.requests) == 1


def test_a_reply_is_kept_before_it_is_parsed():
    replies = RepliesInMemory()
    garbage = {"choices": "what?"}
    proposal = propose(oracle_of(FakeClient(garbage), replies=replies))
    assert proposal.status == "unparseable"
    assert list(replies.replies.values()) == [garbage]


def test_what_decides_the_reply_is_in_the_hash_of_the_request():
    variants = [
        ({}, {}),
        ({"temperature": 0.5}, {}),
        ({"max_output_tokens": 7}, {}),
        ({"identity": "http://other/v1"}, {}),
        ({"extra_body": {"reasoning_effort": "low"}}, {}),
        ({"with_gold_answer": False}, {}),
        ({}, {"attempt": 2}),
        ({"identity": '{"dtype":"float32"}'}, {}),
        ({}, {"earlier": ("too long",), "attempt": 2}),
    ]
    replies, client = RepliesInMemory(), FakeClient(GOOD)
    for settings, asked in variants:
        propose(oracle_of(client, replies=replies, **settings), **asked)
    assert len(replies.replies) == len(client.requests) == len(variants)


def test_equal_requests_in_flight_share_one_call():
    client = FakeClient(GOOD)
    oracle = oracle_of(client)

    async def at_once():
        return await asyncio.gather(*(oracle.propose(FAILURE, earlier=(), attempt=1) for _ in range(5)))

    assert all(proposal.text for [proposal] in asyncio.run(at_once()))
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
        (TooLongError("the prompt fills the context"), "too_long"),
        (DeclinedRequestError("HTTP 400: flagged"), "refused"),
    ],
)
def test_a_bad_reply_has_a_status_and_a_reason(reply, status):
    proposal = propose(oracle_of(FakeClient(reply)))
    assert proposal.text is None
    assert proposal.status == status
    assert proposal.reason


def test_a_failed_call_is_asked_again_on_a_rerun():
    replies = RepliesInMemory()
    assert propose(oracle_of(FakeClient(EngineError("down")), replies=replies)).status == "oracle_error"
    assert propose(oracle_of(FakeClient(GOOD), replies=replies)).text


def test_hidden_reasoning_is_paid_for():
    reply = GOOD | {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015}}
    proposal = propose(oracle_of(FakeClient(reply)))
    assert proposal.output_tokens == 1005


@pytest.mark.parametrize(
    "budget", [lambda: Budget(limit_usd=0.51), lambda: Budget(limit_tokens=9 * 150 + 500), Budget]
)
def test_the_budget_is_never_passed_and_used_as_far_as_it_goes(budget):
    # A call takes 50 output tokens = 0.05 USD, and 100 tokens = 0.1 USD at most: 0.51 USD pay for 9 calls.
    client, limit = FakeClient(GOOD), budget()
    settings = {"max_output_tokens": 100, "price": Price(output=1000.0), "budget": limit, "boxed": True}
    oracle = oracle_of(client, **settings)
    failures = [Failure(f"q{n}", 0, f"Question {n}", "2", "3", [1], [2], "stop") for n in range(40)]
    room = 100 + len(oracle.request(failures[10])["messages"][0]["content"]) + 64
    if limit.limit_tokens is not None:
        limit.limit_tokens = 8 * 150 + room

    async def all_at_once():
        return await asyncio.gather(*(oracle.propose(f, earlier=(), attempt=1) for f in failures))

    proposals = [proposal for [proposal] in asyncio.run(all_at_once())]
    asked = [proposal for proposal in proposals if proposal.text]
    assert len(asked) == len(client.requests) == (40 if limit.limits == "" else 9)
    assert limit.spent.usd == pytest.approx(0.05 * len(asked))
    assert limit.spent.tokens == 150 * len(asked)
    assert {p.status for p in proposals if not p.text} == (set() if limit.limits == "" else {"not_asked"})


def test_the_limit_of_tokens_that_is_sent_is_the_one_that_is_set_aside():
    settings = {"max_output_tokens": 100, "price": Price(output=1000.0), "budget": Budget(limit_usd=0.15)}
    client = FakeClient(GOOD)
    more = {"extra_body": {"max_completion_tokens": 200}}
    assert propose(oracle_of(client, **settings, **more)).status == "not_asked"
    assert propose(oracle_of(client, **settings)).text


def test_an_estimate_counts_every_sample_that_is_not_known():
    replies = RepliesInMemory()
    settings = {"replies": replies, "temperature": 0.7, "attempts": 2, "price": Price(output=1.0)}
    settings["expected_output_tokens"] = 100
    propose(oracle_of(FakeClient(GOOD), **settings))
    other = Failure("q2", 0, "Question 2", "2", "3", [1], [2], "stop")
    one = estimate([FAILURE, other], [oracle_of(FakeClient(GOOD), **settings)]).oracles[0]
    assert (one.calls, one.most_calls) == (1, 3)
    four = estimate([FAILURE, other], [oracle_of(FakeClient(GOOD), samples=4, **settings)]).oracles[0]
    assert (four.calls, four.most_calls) == (7, 15)
    assert four.usd > one.usd > 0


def test_what_an_earlier_attempt_spent_counts():
    spent = Budget(limit_usd=1.0, spent=Spending(usd=0.95))
    settings = {"max_output_tokens": 100, "price": Price(output=1000.0), "budget": spent}
    client = FakeClient(GOOD)
    assert propose(oracle_of(client, **settings)).status == "not_asked"
    assert client.requests == []


def test_several_samples_are_requests_of_their_own():
    client, replies = FakeClient(GOOD), RepliesInMemory()
    oracle = oracle_of(client, replies=replies, samples=3, temperature=0.7)
    assert len(asyncio.run(oracle.propose(FAILURE, earlier=(), attempt=1))) == 3
    assert len({request["idempotency_key"] for request in client.requests}) == 3
    assert len(replies.replies) == 3


def test_no_more_calls_are_in_flight_than_the_concurrency():
    most = now = 0

    class Client(FakeClient):
        async def chat(self, messages, **settings):
            nonlocal most, now
            now += 1
            most = max(most, now)
            try:
                return await super().chat(messages, **settings)
            finally:
                now -= 1

    oracle = oracle_of(Client(GOOD), concurrency=3, samples=4, temperature=0.7)
    failures = [Failure(f"q{n}", 0, f"Question {n}", "2", "3", [1], [2], "stop") for n in range(5)]

    async def all_at_once():
        await asyncio.gather(*(oracle.propose(f, earlier=(), attempt=1) for f in failures))

    asyncio.run(all_at_once())
    assert most == 3


def test_an_outage_is_not_taken_for_a_rows_own_trouble():
    with pytest.raises(OutageError):
        propose(oracle_of(FakeClient(OutageError("all is down"))))


def test_the_reply_to_a_call_whose_asker_is_gone_is_kept():
    client, replies = FakeClient(GOOD), RepliesInMemory()
    oracle = oracle_of(client, replies=replies)

    async def ask_and_leave():
        asker = asyncio.create_task(oracle.propose(FAILURE, earlier=(), attempt=1))
        await asyncio.sleep(0.001)
        asker.cancel()
        await oracle.finish(within_seconds=5)

    asyncio.run(ask_and_leave())
    assert len(replies.replies) == 1


def test_requests_are_plain_json_to_be_hashed():
    json.dumps(oracle_of(FakeClient(GOOD)).request(FAILURE))
