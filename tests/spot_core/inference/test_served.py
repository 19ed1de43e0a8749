"""An Oracle's own server starts when it is needed, is started again when it dies, and never outlives the stage."""

import asyncio
import json

import psutil

from spot_core.config.engine import EngineConfig
from spot_core.config.model import ModelConfig
from spot_core.demo import STUDENT_PATH
from spot_core.errors import OutageError, TooLongError
from spot_core.inference import server
from spot_core.inference.client import ModelClient
from spot_core.inference.served import ServedChatModel
from tests.spot_core.inference import fake_openai

SETTINGS = {"model": "teacher", "temperature": 0.0, "max_tokens": 50, "extra_body": {}}


def ask(tmp_path, count, *, max_model_len=200, text="What is it?", **engine):
    """As many questions at once; replies or errors, and which processes of ours were left at the end."""

    async def all_at_once():
        settings = EngineConfig(max_model_len=max_model_len, startup_timeout_seconds=30, **engine)
        served = ServedChatModel(
            STUDENT_PATH,
            ModelConfig(path="demo-student"),
            settings,
            log_folder=tmp_path / "logs",
            timeout_seconds=20,
            connections=4,
        )
        questions = ([{"role": "user", "content": f"{n}: {text}"}] for n in range(count))
        try:
            return await asyncio.gather(
                *(served.chat(messages, **SETTINGS) for messages in questions), return_exceptions=True
            )
        finally:
            await served.close()

    return asyncio.run(all_at_once())


def servers_left() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if fake_openai.__name__ in p.cmdline()]


def asked(tmp_path):
    return [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]


def test_it_serves_while_it_is_asked_and_not_longer(vllm, tmp_path):
    vllm(1000)
    replies = ask(tmp_path, 20)
    assert all(reply["choices"] for reply in replies)
    assert len(asked(tmp_path)) == 20
    assert {request["model"] for request in asked(tmp_path)} == {server.SERVED_NAME}
    assert servers_left() == []


def test_without_a_question_nothing_starts(vllm, tmp_path):
    vllm()
    assert ask(tmp_path, 0) == []
    assert not (tmp_path / "logs").exists()


def test_a_server_that_dies_is_started_again_and_every_question_answered(vllm, tmp_path):
    vllm(6, 8, 1000)
    replies = ask(tmp_path, 20)
    assert [str(reply) for reply in replies if isinstance(reply, Exception)] == []
    assert len(list((tmp_path / "logs").iterdir())) == 3


def test_one_who_was_about_to_ask_a_server_that_died_asks_the_next_one(vllm, tmp_path, monkeypatch):
    vllm(0, 1000)
    clients, chat = set(), ModelClient.chat

    async def slow_for_the_first(self, messages, **settings):
        clients.add(self)
        if messages[0]["content"].startswith("0:"):
            while len(clients) < 2:
                await asyncio.sleep(0.05)
        return await chat(self, messages, **settings)

    monkeypatch.setattr(ModelClient, "chat", slow_for_the_first)
    replies = ask(tmp_path, 2)
    assert [str(reply) for reply in replies if isinstance(reply, Exception)] == []
    assert len(clients) == 2


def test_two_starts_without_an_answer_are_an_outage_that_shows_the_log(vllm, tmp_path):
    vllm(0, 0)
    replies = ask(tmp_path, 5)
    assert {type(reply) for reply in replies} == {OutageError}
    assert fake_openai.LAST_WORDS in str(replies[0])
    assert servers_left() == []


def test_a_server_that_cannot_start_says_why_and_is_not_started_for_every_row(vllm, tmp_path):
    vllm(-1, -1)
    replies = ask(tmp_path, 3)
    assert {type(reply) for reply in replies} == {OutageError}
    assert fake_openai.LAST_WORDS in str(replies[0])


def test_a_prompt_that_fills_the_context_is_not_sent(vllm, tmp_path):
    vllm(1000)
    replies = ask(tmp_path, 2, max_model_len=16, text="x" * 100)
    assert {type(reply) for reply in replies} == {TooLongError}
    assert not (tmp_path / "logs").exists()


def test_a_server_that_exists_is_asked_by_the_name_of_its_model(tmp_path):
    with fake_openai.FakeOpenAI(model="there/already") as fake:
        [reply] = ask(tmp_path, 1, base_url=fake.base_url)
        assert reply["choices"]
        assert fake.asked[0]["model"] == "there/already"
        assert fake.asked[0]["max_tokens"] == 50


def test_an_address_that_does_not_answer_is_an_outage_and_not_waited_for_by_every_question(tmp_path):
    with fake_openai.FakeOpenAI() as fake:
        gone = fake.base_url
    replies = ask(tmp_path, 5, base_url=gone)
    assert {type(reply) for reply in replies} == {OutageError}
    assert "engine.base_url" in str(replies[0])
