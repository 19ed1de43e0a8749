"""What each failure of a try means: who can mend it, how long to wait, and what the user is told."""

import email.utils
import json
import time

import aiohttp
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.inference.limits import AnswerTooLargeError
from spot_core.inference.retries import Mends, error_answer, fault_of, no_object, refusal


def plain(text):
    return text


GEMINI_WRONG_KEY = json.dumps(
    [
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
            }
        }
    ]
)
OPENAI_NO_CREDIT = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
OPENROUTER_FLAGGED = json.dumps(
    {
        "error": {
            "code": 403,
            "message": "Input was flagged",
            "metadata": {"flagged_input": "…", "reasons": ["x"]},
        }
    }
)


@pytest.mark.parametrize(
    ("status", "body", "mends"),
    [
        *((status, "", Mends.RETRY) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        *((status, "", Mends.THE_USER) for status in (401, 402, 403, 404, 405)),
        *((status, "", Mends.ANOTHER_REQUEST) for status in (400, 413, 415, 422)),
        (400, GEMINI_WRONG_KEY, Mends.THE_USER),
        (429, OPENAI_NO_CREDIT, Mends.THE_USER),
        (403, OPENROUTER_FLAGGED, Mends.ANOTHER_REQUEST),
    ],
)
def test_a_status_says_who_can_mend_it(status, body, mends):
    assert refusal(status, body).mends is mends
    assert f"HTTP {status}" in refusal(status, body).told(plain)
    if body:
        answer = {"error": {"code": status} | {"message": body}}
        assert error_answer(answer).mends is mends  # the same as part of an answer


def test_an_error_inside_of_an_answer_without_a_code_is_worth_a_retry():
    fault = error_answer({"error": {"message": "upstream is busy", "code": "busy"}})
    assert (fault.mends, fault.cause) == (Mends.RETRY, "error answer")
    assert "upstream is busy" in fault.told(plain)
    assert error_answer({"error": "no object"}).mends is Mends.RETRY


def asked_to_wait(headers, body=""):
    return refusal(429, body, httpx2.Headers(headers)).wait_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "86400"}, 86400),
        ({"Retry-After": "-3"}, 0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "9"}, 9),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
    ],
)
def test_the_wait_that_a_server_asks_for(headers, seconds):
    assert asked_to_wait(headers) == seconds


@given(st.integers(5, 100_000))
def test_the_wait_until_a_date(seconds):
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    assert seconds - 2 <= asked_to_wait({"Retry-After": date}) <= seconds + 1


def test_geminis_wait_is_in_the_body():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31.5s"}]
    assert asked_to_wait({}, json.dumps([{"error": {"code": 429, "details": details}}])) == 31.5
    assert asked_to_wait({"Retry-After": "2"}, json.dumps({"error": {"details": details}})) == 2


@given(st.text())
def test_no_header_is_a_failure_of_ours(text):
    header = text.encode("ascii", "ignore").decode()
    wait = asked_to_wait({"Retry-After": header, "retry-after-ms": header})
    assert wait is None or wait >= 0


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code"]) | st.text(), inner)
    ),
)


@given(st.integers(400, 599), json_values | st.text())
def test_whatever_a_server_says_is_told_in_one_short_printable_line(status, said):
    for body in (json.dumps(said), str(said)):
        for fault in (
            refusal(status, body),
            error_answer({"error": said}),
            no_object(body.encode("utf-8", "replace")),
        ):
            line = fault.told(plain)
            assert line.isprintable()
            assert len(line) < 400


def test_bodies_nested_beyond_reason_are_told_too():
    body = "[" * 19_000 + "]" * 19_000
    assert "HTTP 500" in refusal(500, body).told(plain)


@given(st.integers(0, 400))
def test_a_key_is_hidden_wherever_the_line_is_cut(place):
    fault = refusal(400, json.dumps({"error": {"message": "x" * place + "sk-secret-key" + "y" * 400}}))
    line = fault.told(lambda text: text.replace("sk-secret-key", "#"))
    assert "sk-" not in line


def raised(kind, cause=None):
    try:
        raise kind("what happened") from cause
    except Exception as error:  # noqa: BLE001 - whatever it is, with its cause
        return error


@pytest.mark.parametrize(
    ("error", "name", "mends"),
    [
        (raised(httpx2.ConnectError, OSError("refused")), "connection", Mends.RETRY),
        (raised(httpx2.ReadError), "connection", Mends.RETRY),
        (raised(aiohttp.ClientPayloadError), "connection", Mends.RETRY),
        (raised(httpx2.ConnectTimeout, aiohttp.ServerDisconnectedError()), "connection", Mends.RETRY),
        (raised(httpx2.ConnectTimeout, aiohttp.ConnectionTimeoutError()), "timeout", Mends.RETRY),
        (raised(httpx2.ReadTimeout, TimeoutError()), "timeout", Mends.RETRY),
        (raised(AnswerTooLargeError), "too large", Mends.RETRY),
    ],
)
def test_a_connection_that_fails(error, name, mends):
    wrapped = openai.APIConnectionError(request=httpx2.Request("POST", "http://127.0.0.1"))
    wrapped.__cause__ = error
    for fault in (fault_of(error), fault_of(wrapped)):
        assert (fault.cause, fault.mends) == (name, mends)
        assert "what happened" in fault.told(plain)
