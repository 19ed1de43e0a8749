"""A misbehaving server for the tests of this folder, and requests to send it."""

from collections.abc import Iterator

import pytest

from spot_core.inference import client
from tests.spot_core.inference.fake_openai import FakeOpenAI


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a `Retry-After` come soon, so that tests do not wait for seconds."""
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.02)
