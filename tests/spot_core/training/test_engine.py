"""The whole stage for real: torchrun, DeepSpeed, two ranks, a rank killed in the middle."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spot_core.artifacts.schemas import REFERENCE
from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.training.job import TrainingJob
from spot_core.training.launch import launch
from spot_core.training.pairs import Pair, read_pairs
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_logprobs import padded_logprobs
from tests.spot_core.training.test_pairs import write_pairs

pytestmark = pytest.mark.engine

PAIRS, BATCH, EPOCHS = 41, 8, 10  # 6 steps an epoch, the last one of a single pair
STEPS = 6 * EPOCHS
SETTINGS = TrainConfig(
    objective="spot_bco",
    beta=0.5,
    learning_rate=1e-4,
    batch_size=BATCH,
    epochs=EPOCHS,
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=4,
    row_tokens=64,
    micro_batch_tokens=128,  # several micro-batches a step
    context_length=30,
    ranks=2,
)


TOO_LONG = Pair("z", 0, np.full(20, 3, np.int32), np.full(11, 4, np.int32), np.full(2, 5, np.int32))


class Stage:
    """A model, pairs and their reference log-probs in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.model = folder / "model"
        tiny_model("qwen3", torch.float32).save_pretrained(self.model)
        (self.model / "chat_template.jinja").write_text("{{ messages }}")
        self.pairs = write_pairs(folder / "pairs.parquet", [*random_pairs(PAIRS), TOO_LONG])
        self.reference = folder / "reference" / "reference.parquet"

    def job(self, name: str, mode: str = "train", **settings: Any) -> TrainingJob:
        return TrainingJob(
            mode=mode,
            model_path=self.model,
            pairs=(self.pairs,),
            reference=(self.reference,) if mode == "train" else None,
            settings=SETTINGS.model_copy(update=settings),
            output_dir=self.folder / name,
            scratch_dir=self.folder / f"{name}-scratch",
            backend="gloo",
        )

    def train(self, name: str, **settings: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        launch(self.job(name, **settings), log_path=self.folder / f"{name}.log", on_metrics=rows.append)
        return rows

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / name / "checkpoint" / "model.safetensors")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(tmp_path_factory.mktemp("training"))
    seen: list[tuple[int, int]] = []
    launch(
        stage.job("reference", "reference"),
        log_path=stage.folder / "reference.log",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (PAIRS, PAIRS)
    return stage


@pytest.fixture(scope="module")
def undisturbed(stage: Stage) -> list[dict[str, Any]]:
    return stage.train("undisturbed")


def test_reference_logprobs_are_those_of_the_plain_model(stage: Stage) -> None:
    table = pq.read_table(stage.reference)
    assert table.schema.equals(REFERENCE)
    pairs = read_pairs([stage.pairs])[:PAIRS]
    model = AutoModelForCausalLM.from_pretrained(stage.model, dtype=torch.float64)
    with torch.no_grad():
        expected = padded_logprobs(model, pairs)
    assert table["question_id"].to_pylist() == [pair.question_id for pair in pairs]
    assert table["chosen_logprob"].to_pylist() == pytest.approx(expected[:, 0].tolist(), rel=1e-5)
    assert table["rejected_logprob"].to_pylist() == pytest.approx(expected[:, 1].tolist(), rel=1e-5)


def test_a_pair_over_the_context_is_set_aside_with_the_reason(stage: Stage) -> None:
    (dropped,) = pq.read_table(stage.folder / "reference" / "dropped.parquet").to_pylist()
    assert dropped["question_id"] == TOO_LONG.question_id
    assert "31 tokens" in dropped["reason"] and "context_length of 30" in dropped["reason"]


def test_one_rank_and_two_train_alike(stage: Stage, undisturbed: list[dict[str, Any]]) -> None:
    alone = stage.train("alone", ranks=1, zero_stage=1, row_tokens=256, micro_batch_tokens=4096)
    assert [row["step"] for row in undisturbed] == list(range(STEPS))
    assert [row["pairs"] for row in undisturbed][:6] == [8, 8, 8, 8, 8, 1]
    for name in ("loss", "reward_chosen", "reward_rejected", "delta", "kl", "grad_norm"):
        expected = [row[name] for row in undisturbed]
        assert [row[name] for row in alone] == pytest.approx(expected, rel=1e-4, abs=1e-4), name
    assert undisturbed[-1]["loss"] < undisturbed[0]["loss"]
    assert undisturbed[-1]["margin"] > 0
    for name, weight in stage.weights("undisturbed").items():
        torch.testing.assert_close(stage.weights("alone")[name], weight, rtol=0, atol=2e-4)


def test_checkpoint_is_a_whole_model_folder(stage: Stage, undisturbed: list[dict[str, Any]]) -> None:
    folder = stage.folder / "undisturbed" / "checkpoint"
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert not list((stage.folder / "undisturbed").glob("*.tmp"))
    trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    before = AutoModelForCausalLM.from_pretrained(stage.model, dtype=torch.float64)
    pairs = read_pairs([stage.pairs])[:PAIRS]
    with torch.no_grad():
        rewards = SETTINGS.beta * (padded_logprobs(trained, pairs) - padded_logprobs(before, pairs))
    assert (rewards[:, 0] - rewards[:, 1]).mean().item() > 0.9 * undisturbed[-2]["margin"] > 0


def _ranks(job: TrainingJob) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = process.info["cmdline"] or []
        if str(job.job_path) in command and "RANK" in (process.info["environ"] or {}):
            found.append(process)
    return sorted(found, key=lambda process: int(process.environ()["RANK"]))


def test_killed_rank_fails_the_stage_and_a_rerun_ends_with_the_same_weights(
    stage: Stage, undisturbed: list[dict[str, Any]]
) -> None:
    job = stage.job("killed")
    killed_at: list[float] = []

    def kill(row: dict[str, Any]) -> None:
        if row["step"] >= 5 and not killed_at:
            os.kill(_ranks(job)[1].pid, signal.SIGKILL)
            killed_at.append(time.monotonic())

    with pytest.raises(EngineError, match="goes on from the last checkpoint"):
        launch(job, log_path=stage.folder / "killed.log", on_metrics=kill)
    assert time.monotonic() - killed_at[0] < 60
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(job.job_path) in (p.info["cmdline"] or [])]
    assert not (job.output_dir / "checkpoint").exists()
    assert list(job.state_dir.glob("step-*/complete.json")), "killed before the first checkpoint"

    with pytest.raises(ConfigError, match="cannot go on from it at stage 3"):
        stage.train("killed", zero_stage=3)
    rows = stage.train("killed")
    assert "going on after step" in (stage.folder / "killed.log").read_text()
    timeless = [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]
    assert timeless == [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in undisturbed]
    for name, weight in stage.weights("undisturbed").items():
        assert torch.equal(stage.weights("killed")[name], weight), name


def test_a_stale_reference_stops_the_run_with_a_diagnosis(stage: Stage) -> None:
    other = Stage(stage.folder / "other")
    table = pq.read_table(stage.reference)
    at = table.schema.get_field_index("chosen_logprob")
    shifted = [value - 1.0 for value in table["chosen_logprob"].to_pylist()]
    other.reference.parent.mkdir(parents=True)
    pq.write_table(
        table.set_column(at, table.schema.field(at), [shifted]),
        other.reference,
    )
    with pytest.raises(EngineError) as error:
        other.train("stale", ranks=1)
    last_line = str(error.value).splitlines()[-1]
    assert "the reference log-probs are not this model's" in last_line and "Compute them again" in last_line
