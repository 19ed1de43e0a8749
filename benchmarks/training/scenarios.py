"""What is trained on: pairs of token ids, a model, and the settings that both sides share."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.config.model import ModelConfig
from spot_core.config.spot import SpotConfig
from spot_core.config.train import TrainConfig
from spot_core.inference.prompts import PromptRenderer
from spot_core.models import load_tokenizer, resolve_model
from spot_core.pipeline import stages
from spot_core.pipeline.train import write_pairs
from spot_core.runs import Run
from spot_core.training.pairs import read_pairs

_COMMON = {
    "objective": "spot_bce",  # what TRL's `bco_pair` computes since it has no δ any more
    "scheduler": "constant",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "epochs": 1,
    "precision": "fp32",
    "save_dtype": "fp32",
    "gradient_checkpointing": "none",
    "checkpoint_every_steps": 0,
    "zero_stage": 0,  # neither side shards anything
}


@dataclass(frozen=True)
class Scenario:
    """Pairs and how both sides train on them."""

    name: str
    model: Path
    pairs: Path
    train: TrainConfig
    trl_batch: int
    """Pairs in one forward pass of TRL: the fastest of those tried."""


def demo(folder: Path, store: str, count: int | None) -> Scenario:
    """The demo's real pairs: short prompts, responses of some 50 tokens."""
    config = SpotConfig.from_profile("demo", store=store)
    train = config.train.model_copy(update=_COMMON)
    return _of_run(folder, "demo", config, train=train, count=count or 640, trl_batch=16)


def few_shot(folder: Path, store: str, count: int | None) -> Scenario:
    """SmolLM2's real pairs behind their few-shot prompt."""
    config = SpotConfig.from_profile("smollm2", store=store)
    train = config.train.model_copy(update={**_COMMON, "gradient_checkpointing": "selective"})
    return _of_run(folder, "few_shot", config, train=train, count=count or 32, trl_batch=2)


def long(folder: Path, store: str, count: int | None) -> Scenario:
    """Worked sums of 300–800 tokens for SmolLM2, about half of each pair shared, no few-shot prompt."""
    model = resolve_model(ModelConfig(path="smollm2-135m-instruct"))
    assert model is not None
    tokenizer = load_tokenizer(model)
    rng = random.Random(0)
    rows = []
    for index in range(count or 16):
        chat = [{"role": "user", "content": "Add and subtract, one step a line, then give the total."}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)[
            "input_ids"
        ]
        length = rng.randint(300, 800)
        shared = tokenizer.encode(_steps(rng, length), add_special_tokens=False)[: length // 2]
        tails = [
            tokenizer.encode(_steps(rng, length), add_special_tokens=False)[: length - len(shared)]
            for _ in range(2)
        ]
        rows.append((f"long-{index:04d}", 0, list(prompt), *(shared + tail for tail in tails)))
    names = ("question_id", "sample", "prompt_token_ids", "response_token_ids", "rectified_token_ids")
    path = folder / "pairs.parquet"
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    train = TrainConfig(
        **{**_COMMON, "gradient_checkpointing": "selective"},
        beta=0.1,
        learning_rate=1e-5,
        batch_size=8,
        context_length=1024,
        ranks=1,
        row_tokens=1024,
        micro_batch_tokens=1024,
    )
    return Scenario("long", model, path, train, trl_batch=1)


SCENARIOS: dict[str, Callable[[Path, str, int | None], Scenario]] = {
    "demo": demo,
    "few_shot": few_shot,
    "long": long,
}


def _of_run(
    folder: Path, name: str, config: SpotConfig, *, train: TrainConfig, count: int, trl_batch: int
) -> Scenario:
    """The first ``count`` accepted pairs of a run of the pipeline; its stages are reused if they are there."""
    run = Run.create(config, f"benchmark-{name}-{time.time_ns()}")
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    model = resolve_model(config.model)
    assert model is not None
    renderer = PromptRenderer(model, config.model, config.prompt)
    path = write_pairs(stages.rectify_failures(run), folder, renderer)
    table = pq.read_table(path).sort_by([("question_id", "ascending"), ("sample", "ascending")])
    pq.write_table(table.slice(0, _whole_batches(min(count, len(table)), train.batch_size)), path)
    assert read_pairs([path])
    return Scenario(name, model, path, train, trl_batch)


def _whole_batches(count: int, batch_size: int) -> int:
    """TRL weighs a last, smaller batch of pairs otherwise than a whole one: leave it out."""
    return count - count % batch_size


def _steps(rng: random.Random, tokens: int) -> str:
    """Worked sums, longer than ``tokens`` tokens."""
    total, lines = rng.randint(1, 99), []
    for _ in range(tokens // 6):
        term = rng.randint(1, 99)
        lines.append(f"{total} + {term} = {total + term}.")
        total += term
    return "\n".join(lines)
