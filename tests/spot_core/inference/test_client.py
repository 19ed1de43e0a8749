"""The client that rollouts and Oracles share: what it sends, and what its errors tell and do not tell."""

import asyncio
import logging
import time
import traceback

import pytest

from spot_core.errors import ConfigError, DeclinedRequestError, EngineError, OutageError, RefusedRequestError
from spot_core.inference.client import ModelClient
from spot_core.inference.limits import CircuitBreaker
from tests.spot_core.inference.misbehaviour import mixed

KEY = "sk-very-secret-0123456789"


def with_client(base_url, use, **options):
    """What ``use`` makes of a client that is closed afterwards."""

    async def run():
        settings = {"api_key": KEY, "timeout_seconds": 20, "max_retries": 2, "connections": 4}
        client = ModelClient(base_url=base_url, **settings | options)
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(run())


def ask(client, question="Hello", **options):
    settings = {
        "model": "oracle",
        "temperature": 0.0,
        "max_tokens": 20,
        "extra_body": {"reasoning_effort": "low"},
    }
    return client.chat([{"role": "user", "content": question}], **settings | options)


def chat(base_url, **options):
    return with_client(base_url, ask, **options)


def counted(base_url, use=ask, **options):
    """The answer, and what the client counted on the way to it."""

    async def count(client):
        return await use(client), client.counts

    return with_client(base_url, count, **options)


def test_a_chat_reply_comes_back_raw(fake):
    fake.chat = lambda body: "Good day"
    reply = chat(fake.base_url)
    assert reply["choices"][0]["message"]["content"] == "Good day"
    assert reply["usage"]["completion_tokens"] == 50
    assert fake.asked == [
        {
            "messages": [{"role": "user", "content": "Hello"}],
            "model": "oracle",
            "temperature": 0.0,
            "max_tokens": 20,
            "reasoning_effort": "low",
        }
    ]
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


FAULTS = {
    "429": "HTTP 429",
    "500": "HTTP 500",
    "cut": "connection",
    "dropped": "connection",
    "hang": "timeout",
    "trickle": "timeout",
    "half JSON": "no JSON",
    "a page": "no JSON",
    "no choices": "error answer",
    "huge": "too large",
    "bomb": "too large",
}


@pytest.mark.parametrize(("fault", "cause"), FAULTS.items())
def test_a_chat_that_fails_on_the_way_is_asked_again_and_counted(fake, fault, cause):
    fake.fault = lambda body, before: fault if before == 0 else None
    limit = 1 if cause == "timeout" else 30
    reply, counts = counted(fake.base_url, timeout_seconds=limit)
    assert reply["choices"][0]["message"]["content"] == "no edit"
    assert len(fake.asked) == counts.tries == 2
    assert counts.retries == {cause: 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["empty choices", "refusal", "twice", "wrong answer"])
def test_a_whole_answer_is_handed_on_whatever_it_says(fake, fault, stream):
    fake.chat = lambda body: r"So it is \boxed{4}"
    fake.fault = lambda body, before: fault
    reply, counts = counted(fake.base_url, stream=stream)
    assert counts.tries == 1
    assert reply["usage"]["completion_tokens"] == 50
    match fault:
        case "empty choices":
            assert reply["choices"] == []
        case "refusal":
            assert reply["choices"][0]["message"]["refusal"] == "I cannot help with that"
        case "wrong answer":
            assert reply["choices"][0]["message"]["content"] == r"So it is \boxed{-7654321}"


def test_a_streamed_answer_is_the_one_that_comes_in_one_piece(fake):
    fake.chat = lambda body: "  Good day\nto you  all.\n"
    whole = chat(fake.base_url)
    streamed = chat(fake.base_url, stream=True)
    assert fake.asked[1]["stream"] is True

    def told(value):
        """Without the fields that say nothing."""
        return {k: told(v) if isinstance(v, dict) else v for k, v in value.items() if v is not None}

    for reply in (whole, streamed):
        reply["choices"] = told({"choice": told(reply["choices"][0])})
    assert told(streamed) == told(whole)


@pytest.mark.parametrize(("fault", "cause"), [*FAULTS.items(), ("half a stream", "broken stream")])
def test_a_stream_that_fails_on_the_way_is_asked_again(fake, fault, cause):
    fake.fault = lambda body, before: fault if before == 0 else None
    limit = 1 if cause == "timeout" else 30
    reply, counts = counted(fake.base_url, stream=True, timeout_seconds=limit)
    assert reply["choices"][0]["message"]["content"] == "no edit"
    assert len(fake.asked) == 2
    assert counts.retries == {cause: 1}


def test_after_the_last_retry_the_error_names_the_endpoint_and_the_reason(fake):
    fake.fault = lambda body, before: "no choices"
    with pytest.raises(EngineError, match=f"{fake.base_url}.*upstream is busy"):
        chat(fake.base_url, max_retries=3)
    assert len(fake.asked) == 4


def test_every_try_of_a_call_has_its_idempotency_key(fake):
    fake.fault = lambda body, before: "500" if before < 2 else None
    with_client(fake.base_url, lambda client: ask(client, idempotency_key="row-7"))
    assert [headers.get("Idempotency-Key") for headers in fake.headers] == ["row-7"] * 3


def test_the_longer_names_of_reasoning_models_replace_the_common_ones(fake):
    extra = {"max_completion_tokens": 99}
    with_client(fake.base_url, lambda client: ask(client, temperature=None, extra_body=extra))
    message = {"role": "user", "content": "Hello"}
    assert fake.asked == [{"model": "oracle", "messages": [message], "max_completion_tokens": 99}]


def test_what_no_utf8_can_hold_is_sent_all_the_same(fake):
    question = "half a surrogate \ud83d and a NUL \0"
    with_client(fake.base_url, lambda client: ask(client, question))
    assert fake.asked[0]["messages"][0]["content"] == question


@pytest.mark.parametrize("concurrency", [3, 200])
def test_so_many_calls_are_in_flight_and_no_more(fake, concurrency):
    fake.seconds = 0.5

    async def many(client):
        return await asyncio.gather(*(ask(client, f"Question {n}") for n in range(2 * concurrency)))

    replies = with_client(fake.base_url, many, connections=concurrency)
    assert len(replies) == len(fake.answered) == 2 * concurrency
    assert fake.most_at_once == concurrency


def test_a_call_that_waits_for_its_turn_does_not_time_out(fake):
    fake.seconds = 0.4

    async def many(client):
        return await asyncio.gather(*(ask(client, f"Question {n}") for n in range(4)))

    _, counts = counted(fake.base_url, many, connections=1, timeout_seconds=1.5)
    assert counts.tries == 4


def test_an_answer_that_came_while_this_process_was_busy_is_not_asked_for_again(fake):
    fake.seconds = 0.3

    async def many(client):
        calls = [asyncio.create_task(ask(client, f"Question {n}")) for n in range(30)]
        while len(fake.asked) < 30:
            await asyncio.sleep(0.01)
        time.sleep(1.5)
        return await asyncio.gather(*calls)

    _, counts = counted(fake.base_url, many, connections=30, timeout_seconds=1)
    assert counts.tries == len(fake.answered) == 30


def test_a_storm_of_faults_leaves_no_call_without_its_own_answer(fake):
    fake.chat = lambda body: body["messages"][0]["content"][::-1]
    fake.fault = mixed(0.5, [name for name in FAULTS if name not in ("huge", "bomb")], seed=1)
    questions = [f"Question {n}" for n in range(300)]

    async def many(client):
        return await asyncio.gather(*(ask(client, question) for question in questions))

    replies, counts = counted(fake.base_url, many, connections=200, max_retries=30, timeout_seconds=4)
    assert [reply["choices"][0]["message"]["content"] for reply in replies] == [q[::-1] for q in questions]
    assert counts.tries == len(fake.asked) == 300 + counts.retries.total()
    assert set(counts.retries) == {cause for cause in FAULTS.values() if cause != "too large"}


def test_the_server_is_obeyed_when_it_asks_to_wait(fake):
    fake.fault = lambda body, before: "429" if before == 0 else None  # Retry-After: 0.3
    started = time.monotonic()
    chat(fake.base_url)
    assert time.monotonic() - started >= 0.3


def test_a_longer_wait_than_allowed_fails_the_call_and_says_so(fake):
    fake.fault = lambda body, before: "429"
    with pytest.raises(EngineError, match=r"asks to wait 0\.3 s.*max_wait_seconds = 0\.2"):
        chat(fake.base_url, max_wait_seconds=0.2)
    assert len(fake.asked) == 1


@pytest.mark.parametrize("status", ["401", "402", "403", "404"])
def test_what_holds_for_every_request_is_an_error_of_its_own_at_once(fake, status):
    fake.fault = lambda body, before: status
    with pytest.raises(RefusedRequestError, match=f"HTTP {status}.*check"):
        chat(fake.base_url)
    assert len(fake.asked) == 1


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_what_holds_for_one_request_is_an_error_of_it_alone(fake, status):
    fake.fault = lambda body, before: status
    with pytest.raises(EngineError, match=f"HTTP {status}") as caught:
        chat(fake.base_url)
    assert type(caught.value) is DeclinedRequestError
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1/v1", "/v1", "ftp://127.0.0.1/v1", "http://", "http://a:b:c/v1"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match=f"base_url = '{address}'"):
        chat(address)


@pytest.mark.parametrize("key", ["", "sk-1234\n", "sk 1234", "sk-ключ"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError) as caught:
        chat("http://127.0.0.1:1/v1", api_key=key)
    assert not key or key.strip() not in str(caught.value)


def test_after_so_many_failures_in_a_row_no_further_call_is_made(fake):
    fake.fault = lambda body, before: "500" if len(fake.asked) > 5 else None

    async def many(client):
        return await asyncio.gather(
            *(ask(client, f"Question {n}") for n in range(50)), return_exceptions=True
        )

    results = with_client(fake.base_url, many, connections=1, max_retries=0, breaker=CircuitBreaker(4))
    assert [isinstance(result, dict) for result in results[:5]] == [True] * 5
    assert [type(result) for result in results[5:9]] == [EngineError] * 4
    assert {type(result) for result in results[9:]} == {OutageError}
    assert len(fake.asked) == 9
    assert "4 calls in a row" in str(results[-1])
    assert "oh no" in str(results[-1])


def test_a_refusal_of_every_request_ends_all_calls_and_their_waits(fake):
    fake.fault = lambda body, before: "401" if "bad" in body["messages"][0]["content"] else "429"

    async def one_refused(client):
        waiting = [asyncio.create_task(ask(client, f"Question {n}")) for n in range(3)]
        while client.counts.retries["HTTP 429"] < 3:
            await asyncio.sleep(0.01)
        with pytest.raises(RefusedRequestError):
            await ask(client, "bad")
        asked = len(fake.asked)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return asked, results

    asked, results = with_client(fake.base_url, one_refused, max_retries=50, breaker=CircuitBreaker(100))
    assert [type(result) for result in results] == [OutageError] * 3
    assert len(fake.asked) - asked <= 3


def test_a_refused_chat_is_an_error_at_once(fake):
    fake.fault = lambda body, before: "400"
    with pytest.raises(EngineError, match=f"{fake.base_url}.*bad request"):
        chat(fake.base_url)
    assert len(fake.asked) == 1


@pytest.mark.parametrize("fault", ["400", "401"])
def test_a_key_that_the_endpoint_repeats_is_in_no_error_traceback_or_log(fake, fault, caplog):
    caplog.set_level(logging.DEBUG)
    fake.fault = lambda body, before: fault  # its message shows the Authorization header
    with pytest.raises(EngineError) as caught:
        chat(fake.base_url)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "bad request with" in shown
    assert KEY not in shown


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_an_answer_repeats_does_not_leave_the_client(fake, stream):
    fake.chat = lambda body: f"You sent Bearer {KEY}, I think: {KEY}."
    reply = chat(fake.base_url, stream=stream)
    assert reply["choices"][0]["message"]["content"] == "You sent Bearer …, I think: …."
    assert KEY not in str(reply)


def test_an_answer_that_holds_a_placeholder_for_a_key_is_left_as_it_is(fake):
    fake.chat = lambda body: "There is no-key here"
    assert chat(fake.base_url, api_key="no-key")["choices"][0]["message"]["content"] == "There is no-key here"


def test_a_password_in_the_address_is_refused_and_not_shown():
    with pytest.raises(ConfigError, match=r"example\.org") as caught:
        chat("https://user:hidden-word@example.org/v1")
    assert "hidden-word" not in str(caught.value)


def test_a_server_on_this_machine_is_asked_past_the_proxy(fake, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert with_client(fake.base_url, lambda client: client.served_model()) == "some/model"


def test_the_first_model_of_an_endpoint_is_the_one(fake):
    assert with_client(fake.base_url, lambda client: client.served_model()) == "some/model"


def test_an_address_that_is_no_model_api_is_an_error(fake):
    with pytest.raises(EngineError, match="404"):
        with_client(fake.base_url.removesuffix("/v1"), lambda client: client.served_model())
