"""A server that dies is started again and asked only for what is missing, as long as that leads anywhere."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.demo import STUDENT_PATH
from spot_core.errors import ConfigError, EngineError
from spot_core.inference import server
from spot_core.inference.client import ModelClient
from spot_core.inference.policy import Policy, Request
from spot_core.pipeline.rollout import sample_responses
from spot_core.processes.supervised import free_port
from spot_core.store.journal import Journal
from tests.spot_core.inference import fake_openai

SAMPLING = SamplingConfig(max_new_tokens=10)
ENGINE = EngineConfig(concurrency=2, max_model_len=100, startup_timeout_seconds=30)


class Renderer:
    """Prompts of two tokens."""

    def token_ids(self, question: str) -> list[int]:
        return [len(question), 1]


def asked(tmp_path):
    return [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]


def requests(count):
    return [Request(f"q{n}", 0, [n, n + 1], n) for n in range(count)]


def sample(tmp_path, policy, journal, count=10):
    rows = [{"question_id": f"q{n}", "question": f"What is {n}?"} for n in range(count)]
    sample_responses(journal, rows, policy=policy, renderer=Renderer(), sampling=SAMPLING)


def test_a_server_that_dies_is_started_again_and_asked_for_what_is_missing(tmp_path, vllm):
    vllm(3, 4, 1000)
    answers = []
    with Policy(tmp_path, ENGINE, log_folder=tmp_path / "logs") as policy:
        policy.answer(requests(12), SAMPLING, lambda request, _: answers.append(request.question_id))
        assert policy.starts == 3
    assert sorted(answers) == sorted(f"q{n}" for n in range(12))
    # 12 answers; each death costs at most the requests in flight.
    assert 12 <= len(asked(tmp_path)) <= 12 + 2 * ENGINE.concurrency
    assert {body["model"] for body in asked(tmp_path)} == {"policy"}
    assert len(list((tmp_path / "logs").glob("vllm-*.log"))) == 3


def test_a_server_whose_engine_takes_its_time_to_end_is_started_again(tmp_path, vllm, monkeypatch):
    vllm(3, 1000)
    program = server.server_command
    lingers = "(trap 'sleep 2; exit' TERM; while :; do sleep 0.1; done) & exec \"$@\""
    monkeypatch.setattr(
        server, "server_command", lambda *about: ["bash", "-c", lingers, "-", *program(*about)]
    )
    answers = []
    with Policy(tmp_path, ENGINE, log_folder=tmp_path / "logs") as policy:
        policy.answer(requests(12), SAMPLING, lambda request, _: answers.append(request.question_id))
        assert policy.starts == 2
    assert sorted(answers) == sorted(f"q{n}" for n in range(12))


def test_two_starts_without_an_answer_end_in_an_error_with_the_servers_log(tmp_path, vllm):
    vllm(4, 0, 0)
    with (
        Journal(tmp_path / "rows.jsonl") as journal,
        Policy(tmp_path, ENGINE, log_folder=tmp_path) as policy,
        pytest.raises(EngineError) as caught,
    ):
        sample(tmp_path, policy, journal)
    assert "2 starts in a row" in str(caught.value)
    assert "out of GPU memory. Lower engine.gpu_memory_utilization" in str(caught.value)
    assert fake_openai.LAST_WORDS in str(caught.value)
    kept = {record["question_id"] for record in Journal(tmp_path / "rows.jsonl")}
    assert len(kept) == 4

    vllm(1000)
    before = len(asked(tmp_path))
    with (
        Journal(tmp_path / "rows.jsonl") as journal,
        Policy(tmp_path, ENGINE, log_folder=tmp_path) as policy,
    ):
        sample(tmp_path, policy, journal)
        assert sorted(record["question_id"] for record in journal) == sorted(f"q{n}" for n in range(10))
    assert len(asked(tmp_path)) - before == 6


def test_a_server_that_does_not_start_is_tried_twice_and_its_log_is_shown(tmp_path, vllm):
    vllm(-1, -1)
    with (
        Policy(tmp_path, ENGINE, log_folder=tmp_path) as policy,
        pytest.raises(EngineError, match="ended while starting") as caught,
    ):
        policy.answer(requests(2), SAMPLING, lambda *_: None)
    assert policy.starts == 2
    assert fake_openai.LAST_WORDS in str(caught.value)


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(
        server,
        "server_command",
        lambda *_: [sys.executable, "-c", "import time; print('loading'); time.sleep(99)"],
    )
    engine = ENGINE.model_copy(update={"startup_timeout_seconds": 0.5})
    with (
        Policy(tmp_path, engine, log_folder=tmp_path) as policy,
        pytest.raises(EngineError, match=r"startup_timeout_seconds = 0\.5"),
    ):
        policy.answer(requests(1), SAMPLING, lambda *_: None)
    assert not [
        p for p in psutil.Process().children(recursive=True) if "time.sleep(99)" in " ".join(p.cmdline())
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("when", ["starting", "answering"])
def test_a_signal_ends_the_server_whether_it_starts_or_answers(tmp_path, monkeypatch, when):
    """As the handler of SIGTERM does that Prefect sets: it raises in the midst of whatever the main thread does."""
    never = "import time; print('up'); time.sleep(999)"
    monkeypatch.setattr(server, "server_command", lambda *_: [sys.executable, "-c", never])
    if when == "answering":
        monkeypatch.setattr(server.VllmServer, "_wait_until_healthy", lambda self: None)
        monkeypatch.setattr(ModelClient, "complete", lambda *_, **__: asyncio.sleep(999))

    class TerminatedError(BaseException):
        pass

    def raise_terminated(*_):
        raise TerminatedError

    before = signal.signal(signal.SIGUSR1, raise_terminated)
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    engine = ENGINE.model_copy(update={"startup_timeout_seconds": 900})
    try:
        with pytest.raises(TerminatedError), Policy(tmp_path, engine, log_folder=tmp_path) as policy:
            policy.answer(requests(5), SAMPLING, lambda *_: None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not [p for p in psutil.Process().children(recursive=True) if never in p.cmdline()]


def test_the_server_starts_with_the_first_question_and_ends_with_the_context(tmp_path, vllm):
    def children() -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True))

    vllm(1000)
    others = children()  # worker pools of other tests
    with Policy(tmp_path, ENGINE, log_folder=tmp_path) as policy:
        assert not children() - others
        policy.answer(requests(2), SAMPLING, lambda *_: None)
        policy.answer(requests(2), SAMPLING, lambda *_: None)
        assert policy.starts == 1
        assert children() - others
    assert not children() - others


def test_the_real_command_sends_no_defaults_of_the_model_and_listens_on_this_machine_only(tmp_path):
    command = server.server_command(tmp_path, ENGINE, 1234, False)
    assert command[command.index("--generation-config") + 1] == "vllm"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--max-model-len") + 1] == "100"
    assert "--trust-remote-code" not in command
    assert "--trust-remote-code" in server.server_command(tmp_path, ENGINE, 1234, True)


def test_a_port_that_another_server_took_leads_to_another_port(tmp_path, vllm, fake, monkeypatch, caplog):
    """The other one answers for its health as ours would: it must not be taken for ours."""
    vllm(1000, 1000)
    taken, free = urlsplit(fake.base_url).port, free_port()
    ports = iter([taken, free])
    monkeypatch.setattr(server, "free_port", lambda: next(ports))
    started = server.VllmServer(tmp_path, ENGINE, log_path=tmp_path / "log")
    with caplog.at_level("WARNING"), started:
        assert (started.port, started.ports_lost) == (free, 1)
        assert httpx2.get(f"http://127.0.0.1:{free}/health", trust_env=False).status_code == 200
    assert f"port {taken} was free and is taken now" in caplog.text
    assert (tmp_path / "log").read_text().count("=== ") == 2
    assert fake.asked == []


SHARING = """
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
Server(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""
"""Listens as vLLM with several API processes does: another server of the same user may listen on the port beside it."""


def test_a_port_that_another_server_shares_leads_to_another_port(tmp_path, monkeypatch, caplog):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        threading.Thread(target=answer_as_healthy, args=(other,), daemon=True).start()
        shared, free = other.getsockname()[1], free_port()
        ports = iter([shared, free])
        monkeypatch.setattr(server, "free_port", lambda: next(ports))
        monkeypatch.setattr(
            server,
            "server_command",
            lambda _model, _engine, port, _code: [sys.executable, "-c", SHARING, str(port)],
        )
        started = server.VllmServer(tmp_path, ENGINE, log_path=tmp_path / "log")
        with caplog.at_level("WARNING"), started:
            assert (started.port, started.ports_lost) == (free, 1)


def answer_as_healthy(listening: socket.socket) -> None:
    with suppress(OSError):  # until it is closed
        while True:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            connection.close()


def test_ports_that_are_always_taken_end_in_an_error_that_says_so(tmp_path, vllm, fake, monkeypatch):
    vllm(*9 * [1000])
    monkeypatch.setattr(server, "free_port", lambda: urlsplit(fake.base_url).port)
    started = server.VllmServer(tmp_path, ENGINE, log_path=tmp_path / "log")
    with pytest.raises(EngineError, match="its port is in use by another process"), started:
        pass
    assert started.ports_lost == server._MOST_PORTS_LOST


def test_settings_that_the_server_refuses_are_not_tried_twice(tmp_path, monkeypatch):
    said = "api_server.py: error: unrecognized arguments: --no-such-option"
    monkeypatch.setattr(
        server, "server_command", lambda *_: [sys.executable, "-c", f"import sys; sys.exit({said!r})"]
    )
    with (
        Policy(tmp_path, ENGINE, log_folder=tmp_path) as policy,
        pytest.raises(
            ConfigError, match=r"does not know the argument --no-such-option\. Look at engine\.extra_args"
        ),
    ):
        policy.answer(requests(2), SAMPLING, lambda *_: None)
    assert policy.starts == 1


@pytest.mark.engine
@pytest.mark.slow
def test_the_real_vllm_is_understood_when_it_does_not_start(tmp_path):
    engine = EngineConfig(max_model_len=100_000, startup_timeout_seconds=300)
    with (
        pytest.raises(
            ConfigError,
            match=r"ended while starting: engine\.max_model_len = 100000 is longer than the model",
        ) as caught,
        server.VllmServer(STUDENT_PATH, engine, log_path=tmp_path / "log"),
    ):
        pass
    assert "limit of 256 tokens" in str(caught.value).splitlines()[0]
