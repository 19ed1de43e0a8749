"""A misbehaving server for the tests of this folder, and requests to send it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spot_core.config.engine import EngineConfig
from spot_core.inference import retries, served, server
from tests.spot_core.inference import fake_openai
from tests.spot_core.inference.fake_openai import FakeOpenAI


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a `Retry-After` come soon, so that tests do not wait for seconds."""
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.02)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the fake program in vLLM's place; returns a function that says after how many answers each start dies.

    What it is asked is noted in `asked.jsonl`.
    """
    monkeypatch.setattr(server, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(served, "_POLL_SECONDS", 0.05)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))  # where `tests` is found

    def dies_after(*answers: int) -> None:
        lives = iter(answers)

        def command(model_path: Path, engine: EngineConfig, port: int, trust_remote_code: bool) -> list[str]:
            program = [sys.executable, "-m", fake_openai.__name__, "--port", str(port)]
            return [*program, "--log", str(tmp_path / "asked.jsonl"), "--die-after", str(next(lives))]

        monkeypatch.setattr(server, "server_command", command)

    return dies_after
