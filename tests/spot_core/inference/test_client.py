"""The client that rollouts and Oracles share: what it sends, and what its errors tell and do not tell."""

import asyncio

import pytest

from spot_core.errors import EngineError
from spot_core.inference.client import ModelClient

KEY = "sk-very-secret-0123456789"


def with_client(base_url, use, *, max_retries=2):
    async def run():
        client = ModelClient(
            base_url=base_url, api_key=KEY, timeout_seconds=1, max_retries=max_retries, connections=4
        )
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(run())


def chat(base_url, **options):
    def use(client):
        return client.chat(
            [{"role": "user", "content": "Hello"}],
            model="oracle",
            temperature=0.0,
            max_tokens=20,
            extra_body={"reasoning_effort": "low"},
        )

    return with_client(base_url, use, **options)


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


@pytest.mark.parametrize("fault", ["429", "500", "cut", "hang", "half JSON", "a page"])
def test_a_chat_that_fails_on_the_way_is_asked_again(fake, fault):
    fake.fault = lambda body, before: fault if before == 0 else None
    assert chat(fake.base_url)["choices"][0]["message"]["content"] == "no edit"
    assert len(fake.asked) == 2


def test_a_refused_chat_is_an_error_at_once(fake):
    fake.fault = lambda body, before: "400"
    with pytest.raises(EngineError, match=f"{fake.base_url}.*bad request"):
        chat(fake.base_url)
    assert len(fake.asked) == 1


def test_a_key_that_the_endpoint_repeats_is_not_in_the_error(fake):
    fake.fault = lambda body, before: "400"  # its message shows the Authorization header
    with pytest.raises(EngineError) as caught:
        chat(fake.base_url)
    assert KEY not in str(caught.value)


def test_a_password_in_the_address_is_not_in_the_error(fake):
    fake.fault = lambda body, before: "400"
    with pytest.raises(EngineError) as caught:
        chat(fake.base_url.replace("://", "://user:hidden-word@"))
    assert "hidden-word" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


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
