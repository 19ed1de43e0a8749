"""The demo student in miniature: its tokenizer, a few dozen questions, and a fake server that slips as it does."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import openai._base_client
import pytest

from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.demo.chains import Chain, Step, slipped_values, write_response
from spot_core.models import load_tokenizer
from spot_core.pipeline import stages
from spot_core.runs import Run
from tests.spot_core.inference.fake_openai import Body, Completion, FakeOpenAI

QUESTIONS = 24
_CHAIN = re.compile(r"Compute (\d+)((?:[+-]\d)+)\.")

tokenizer = cache(load_tokenizer)


class Student:
    """Answers prompts of chains as the demo student would.

    It forgets a carry with probability ``rate``, and is ``off_by`` so much in its first step.
    """

    def __init__(self, rate: float, *, off_by: int = 0) -> None:
        self.rate = rate
        self.off_by = off_by

    def __call__(self, body: Body) -> Completion:
        student = tokenizer(STUDENT_PATH)
        matches = _CHAIN.findall(student.decode(body["prompt"]))
        start, steps = matches[-1]
        chain = Chain(int(start), tuple(Step(o, int(n)) for o, n in re.findall(r"([+-])(\d)", steps)))
        values = slipped_values(Random(body["seed"]), chain, self.rate)
        text = write_response(chain, [value + self.off_by for value in values])
        ids = student(text, add_special_tokens=False)["input_ids"]
        return text, [*ids, student.eos_token_id], "stop"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.02)
    with FakeOpenAI() as server:
        server.complete = Student(rate=0.6)
        yield server


@pytest.fixture
def configure(fake: FakeOpenAI, tmp_path: Path) -> Callable[..., SpotConfig]:
    """Returns a function that makes a configuration of the demo profile against the fake server."""

    def configured(**overrides: Any) -> SpotConfig:
        settings = {
            "store": str(tmp_path / "store"),
            "engine": {"base_url": fake.base_url, "concurrency": 4, "max_retries": 2},
            "questions": {"kind": "generator", "name": "demo-chains", "count": QUESTIONS},
            "filter": {"workers": 1},
            "evaluate": {
                "datasets": [
                    {
                        "name": "chains",
                        "questions": {
                            "kind": "generator",
                            "name": "demo-chains",
                            "count": 10,
                            "split": "evaluation",
                        },
                    }
                ]
            },
        }
        return SpotConfig.from_profile("demo", **settings | overrides)

    return configured


def run_stages(config: SpotConfig, name: str, *, refresh: tuple[str, ...] = ()) -> Run:
    """A run up to the pairs."""
    run = Run.create(config, name, refresh=refresh)
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    stages.rectify_failures(run)
    return run


def reused(run: Run) -> dict[str, bool]:
    """Which artifacts of the run were there before it needed them."""
    return {name: used.reused for name, used in run.record.used.items()}
