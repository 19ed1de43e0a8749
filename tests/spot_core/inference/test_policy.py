"""Every request gets exactly one answer, whatever the server does, or the error says what to do."""

import random
import socket
import time

import pytest
from pydantic import ValidationError

from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.inference.policy import Policy, Request, Response, request_seed
from tests.spot_core.inference.fake_openai import FakeOpenAI

SAMPLING = SamplingConfig(temperature=0.7, top_p=0.8, max_new_tokens=10)


def requests(count, *, samples=1):
    return [
        Request(f"q{n}", sample, [n, n + 1], request_seed(0, f"q{n}", sample))
        for n in range(count)
        for sample in range(samples)
    ]


def ask(tmp_path, base_url, asked, *, sampling=SAMPLING, **engine):
    """Returns what was answered, as a list of (request, response)."""
    answers: list[tuple[Request, Response]] = []
    settings = {"concurrency": 8, "request_timeout_seconds": 0.5, "max_retries": 6, "max_model_len": 100}
    config = EngineConfig(base_url=base_url, **settings | engine)
    with Policy(tmp_path, config, log_folder=tmp_path / "logs") as policy:
        policy.answer(asked, sampling, lambda request, response: answers.append((request, response)))
    return answers


def assert_answered_once(answers, asked):
    assert sorted((r.question_id, r.sample) for r, _ in answers) == sorted(
        (r.question_id, r.sample) for r in asked
    )
    for request, response in answers:
        assert response.text == f"seed {request.seed}"
        assert response.token_ids == [*request.prompt_token_ids, request.seed % 1000]


def test_each_request_gets_its_own_answer(fake, tmp_path):
    asked = requests(20, samples=2)
    assert_answered_once(ask(tmp_path, fake.base_url, asked), asked)
    assert len(fake.asked) == 40


def test_a_server_that_asks_for_a_key_gets_that_of_the_environment(fake, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"engine.api_key_env = 'SPOT_TEST_KEY'.*not set"):
        ask(tmp_path, fake.base_url, requests(1), api_key_env="SPOT_TEST_KEY")
    monkeypatch.setenv("SPOT_TEST_KEY", "sk-of-the-server-42")
    ask(tmp_path, fake.base_url, requests(1), api_key_env="SPOT_TEST_KEY")
    assert fake.headers[-1]["Authorization"] == "Bearer sk-of-the-server-42"


@pytest.mark.parametrize("fault", ["429", "500", "cut", "hang", "half JSON", "a page"])
def test_a_request_that_fails_on_the_way_is_asked_again(fake, tmp_path, fault):
    fake.fault = lambda body, before: fault if before == 0 else None
    asked = requests(4)
    assert_answered_once(ask(tmp_path, fake.base_url, asked), asked)
    assert len(fake.asked) == 8
    assert len(fake.answered) == 4


def test_every_request_is_answered_once_through_a_storm_of_faults(fake, tmp_path):
    rng = random.Random(0)
    faults = [None, None, None, "429", "500", "cut", "half JSON", "a page"]
    fake.fault = lambda body, before: rng.choice(faults) if before < 3 else None
    asked = requests(60, samples=2)
    answers = ask(tmp_path, fake.base_url, asked, request_timeout_seconds=20)  # nothing hangs
    assert_answered_once(answers, asked)
    assert len(fake.answered) == 120


def test_the_server_says_how_long_to_wait(fake, tmp_path):
    fake.fault = lambda body, before: "429" if before == 0 else None  # with Retry-After: 0.3
    started = time.monotonic()
    ask(tmp_path, fake.base_url, requests(1))
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(("concurrency", "copies"), [(1, 1), (5, 1), (2, 3)])
def test_as_many_requests_are_in_flight_as_configured_for_each_copy(fake, tmp_path, concurrency, copies):
    fake.seconds = 0.1
    asked = requests(30)
    engine = {"concurrency": concurrency, "data_parallel_size": copies}
    assert_answered_once(ask(tmp_path, fake.base_url, asked, **engine), asked)
    assert fake.most_at_once == concurrency * copies


def test_every_sampling_value_is_sent(fake, tmp_path):
    asked = requests(2)
    sampling = SamplingConfig(temperature=0.0, top_p=1.0, max_new_tokens=10)
    ask(tmp_path, fake.base_url, asked, sampling=sampling)
    sent = {body["seed"]: body for body in fake.asked}
    for request in asked:
        body = sent[request.seed]
        wanted = {
            "prompt": request.prompt_token_ids,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": 10,
            "n": 1,
            "return_token_ids": True,
        }
        assert {name: body[name] for name in wanted} == wanted


def test_the_model_is_called_what_the_endpoint_calls_it(fake, tmp_path):
    ask(tmp_path, fake.base_url, requests(1))
    assert fake.asked[0]["model"] == "some/model"


def test_a_response_has_the_room_that_the_prompt_leaves(fake, tmp_path):
    asked = [Request("long", 0, list(range(95)), 1), Request("full", 0, list(range(100)), 2)]
    answers = {request.question_id: response for request, response in ask(tmp_path, fake.base_url, asked)}
    assert [body["max_tokens"] for body in fake.asked] == [5]
    assert answers["full"] == Response("", [], "length")
    assert answers["long"].text == "seed 1"


def test_a_server_without_token_ids_is_refused_with_a_remedy(fake, tmp_path):
    fake.fault = lambda body, before: "no ids"
    with pytest.raises(EngineError, match="return_token_ids"):
        ask(tmp_path, fake.base_url, requests(3))


def test_an_answer_without_a_completion_is_shown(fake, tmp_path):
    fake.fault = lambda body, before: "no choices"
    with pytest.raises(EngineError, match="upstream is busy"):
        ask(tmp_path, fake.base_url, requests(3))


def test_a_refused_request_is_not_asked_again_and_what_was_answered_is_kept(fake, tmp_path):
    bad = requests(10)[7].seed
    fake.fault = lambda body, before: "400" if body["seed"] == bad else None
    answers = []
    config = EngineConfig(base_url=fake.base_url, concurrency=1, max_model_len=100)
    with (
        Policy(tmp_path, config, log_folder=tmp_path) as policy,
        pytest.raises(EngineError, match=r"400.*bad request"),
    ):
        policy.answer(requests(10), SAMPLING, lambda *answer: answers.append(answer))
    assert_answered_once(answers, requests(7))
    assert len(fake.asked) == 8


@pytest.mark.parametrize("fault", ["hang", "500", "a page"])
def test_a_fault_that_does_not_go_away_ends_in_an_error_that_names_the_endpoint(fake, tmp_path, fault):
    fake.fault = lambda body, before: fault
    with pytest.raises(EngineError, match=fake.base_url):
        ask(tmp_path, fake.base_url, requests(1), max_retries=2, request_timeout_seconds=0.2)
    assert len(fake.asked) == 3


def test_an_endpoint_that_is_down_is_named(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    with pytest.raises(EngineError, match=base_url):
        ask(tmp_path, base_url, requests(2), max_retries=1)


def test_request_seeds_differ_and_depend_on_nothing_else():
    seeds = {request_seed(run, f"q{n}", sample) for run in range(3) for n in range(50) for sample in range(4)}
    assert len(seeds) == 600
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(0, "q0", 0) == request_seed(0, "q0", 0)


@pytest.fixture
def another():
    with FakeOpenAI() as server:
        yield server


def test_several_servers_share_the_requests_and_answer_as_one_does(fake, another, tmp_path):
    asked = requests(40)
    fake.seconds = another.seconds = 0.3
    answers = ask(tmp_path, f"{fake.base_url}, {another.base_url}", asked)
    assert_answered_once(answers, asked)
    assert len(fake.asked) + len(another.asked) == 40
    assert min(len(fake.asked), len(another.asked)) > 5
    assert fake.most_at_once == another.most_at_once == 8


def test_a_server_that_fails_is_left_out_and_the_others_answer(fake, another, tmp_path, caplog):
    asked = requests(40)
    fake.seconds = 0.01
    another.fault = lambda body, before: "500" if len(another.asked) > 3 else None
    servers = f"{fake.base_url},{another.base_url}"
    answers = ask(tmp_path, servers, asked, max_retries=0, request_timeout_seconds=10)
    assert_answered_once(answers, asked)
    assert "one of the servers is left out, 1 others go on" in caplog.text


def test_a_server_that_is_not_there_is_left_out_and_when_none_is_it_fails(fake, tmp_path):
    asked = requests(5)
    nowhere = "http://127.0.0.1:9/v1"
    assert_answered_once(ask(tmp_path, f"{nowhere},{fake.base_url}", asked, max_retries=0), asked)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
        ask(tmp_path, f"{nowhere},{nowhere}", asked, max_retries=0)


@pytest.mark.parametrize("base_url", ["", ",", "http://a/v1,,http://b/v1"])
def test_a_missing_address_is_no_server(base_url):
    with pytest.raises(ValidationError, match="give an address"):
        EngineConfig(base_url=base_url)


def test_a_request_that_is_refused_is_no_fault_of_one_server(fake, another, tmp_path):
    fake.fault = another.fault = lambda body, before: "400"
    with pytest.raises(EngineError, match="HTTP 400"):
        ask(tmp_path, f"{fake.base_url},{another.base_url}", requests(5))
