"""The demo student in miniature: its tokenizer, a few dozen questions, and a fake server that slips as it does."""

import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from spot_core.config.engine import EngineConfig
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.demo.chains import Chain, Step, slipped_values, write_response
from spot_core.inference import retries, served
from spot_core.models import load_tokenizer
from spot_core.oracles.prompting import END, START
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from spot_core.store import ArtifactWriter, schemas
from tests.spot_core.inference.fake_openai import Body, Completion, FakeOpenAI

QUESTIONS = 24
_CHAIN = re.compile(r"Compute (\d+)((?:[+-]\d)+)\.")

KEY = "sk-very-secret-0123456789"

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
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.02)
    with FakeOpenAI() as server:
        server.complete = Student(rate=0.6)
        yield server


@pytest.fixture
def trained_fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """Stands in for the vLLM server that the evaluation starts for the trained model."""
    with FakeOpenAI() as server:
        server.complete = Student(rate=0.2)

        class Vllm:
            died = False
            base_url = server.base_url

            def __init__(self, model_path: Path, engine: EngineConfig, **_: Any) -> None:
                assert engine.base_url is None
                assert (model_path / "model.safetensors").is_file()
                self.process = self

            def __enter__(self) -> "Vllm":
                return self

            def stop(self) -> None:
                pass

        monkeypatch.setattr(served, "VllmServer", Vllm)
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


def pretend_training(run: Run, *, trained_on: str = "pairs") -> None:
    """Puts in place what training would leave: reference, metrics, and a checkpoint that is not the student's."""
    pairs = Resolver(run).rectify().artifact
    assert pairs is not None
    accepted = [row for row in pairs.rows_as_dicts() if row["status"] == "accepted"]
    reference = [
        {
            "question_id": row["question_id"],
            "sample": row["sample"],
            "chosen_logprob": -3.0,
            "rejected_logprob": -2.0,
            "chosen_tokens": len(row["rectified_token_ids"]),
            "rejected_tokens": len(row["response_token_ids"]),
        }
        for row in accepted
    ]
    unlikely = {
        "token": "<|end|>",
        "pairs": 3,
        "standing": 4,
        "median_logprob": -30.0,
        "question_id": "q1",
        "sample": 0,
    }
    known = {"pairs": 1, "unlikely_tokens": [unlikely]}
    stages.produce(run, Resolver(run).reference(), lambda w: w.complete(reference, statistics=known))

    def write_checkpoint(writer: ArtifactWriter) -> None:
        folder = shutil.copytree(STUDENT_PATH, writer.folder / "checkpoint")
        (folder / "generation_config.json").write_text(f'{{"transformers_version": "{trained_on}"}}')
        rows = [_step(number) for number in (1, 2)]
        figures = {"final_loss": 0.5, "reward_chosen": 1.0, "reward_rejected": -1.0, "objective": "spot_bco"}
        saved = {"pairs": 2, "largest_difference": 0.0, "share_of_change": 1.0}
        figures["invariants"] = {"saved and trained": saved}
        writer.complete(rows, statistics=figures, files=[folder])

    stages.produce(run, Resolver(run).train(), write_checkpoint)


def _step(number: int) -> dict[str, Any]:
    known = {"step": number, "epoch": number / 2, "pairs": 4, "tokens": 100, "reward_chosen": 1.0}
    zero = {"loss": 0.5, "lr": 1e-4, "grad_norm": 1.0, "tokens_per_second": 10.0}
    return dict.fromkeys(schemas.TRAIN.names) | known | zero | {"reward_rejected": -1.0}


def reused(run: Run) -> dict[str, bool]:
    """Which artifacts of the run were there before it needed them."""
    return {name: used.reused for name, used in run.record.used.items()}


def corrected(body):
    """The student's solution with the reference answer in its box."""
    prompt = body["messages"][0]["content"]
    answer = re.search(r"Reference answer:\n(.*)", prompt).group(1)
    solution = re.search(r"The student's solution:\n(.*?)\n\nGive", prompt, re.DOTALL).group(1)
    return f"{START}\n{re.sub(r'boxed{.*?}', f'boxed{{{answer}}}', solution)}\n{END}"


@pytest.fixture
def with_oracle(fake, configure, monkeypatch):
    monkeypatch.setenv("ORACLE_KEY", KEY)
    fake.chat = corrected

    def configured(*, rectify=(), **oracle):
        rectify = dict(rectify)
        settings = {
            "kind": "openai",
            "model": "teacher",
            "base_url": fake.base_url,
            "api_key_env": "ORACLE_KEY",
            "attempts": 1,
            "max_retries": 1,
            "concurrency": 4,
        }
        prices = {"teacher": {"input": 1.0, "output": 2.0}}
        return configure(rectify={"oracle": settings | oracle, "prices": prices} | rectify)

    return configured


def chats(fake):
    return [body for body in fake.asked if "messages" in body]
