"""The preflight's estimate beside what a rank really takes: a large vocabulary and a long row."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spot_core.config.train import TrainConfig
from spot_core.training.job import TrainingJob
from spot_core.training.launch import launch
from spot_core.training.pairs import Pair
from tests.spot_core.training.test_pairs import write_pairs

pytestmark = pytest.mark.engine

VOCABULARY, ROW = 151_936, 8192
GEOMETRY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": ROW,
    "tie_word_embeddings": True,
}


def long_pair() -> Pair:
    """Prompt, shared part and two endings that fill a merged row exactly."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, ROW).astype(np.int32)
    prompt, shared, rest = ids[:6000], ids[6000:6600], ids[6600:]
    endings = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    assert endings[0][0] != endings[1][0]
    return Pair("long", 0, prompt, *(np.concatenate([shared, ending]) for ending in endings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3", **GEOMETRY)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    write_pairs(folder / "pairs.parquet", [long_pair()])
    return folder


def run(folder: Path, name: str, mode: str, **settings: object) -> str:
    """Runs a job and returns its log."""
    job = TrainingJob(
        mode=mode,
        model_path=folder / "model",
        pairs=(folder / "pairs.parquet",),
        reference=None if mode == "reference" else (folder / "reference" / "reference.parquet",),
        settings=TrainConfig(precision="fp32", epochs=1, batch_size=1, **settings),
        output_dir=folder / name,
        scratch_dir=folder / f"{name}-scratch",
        backend="gloo",
    )
    log = folder / f"{name}.log"
    launch(job, log_path=log)
    return log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("checkpointing", "zero_stage"), [("selective", 0), ("none", 2)])
def test_a_rank_takes_what_the_preflight_estimated(folder: Path, checkpointing: str, zero_stage: int) -> None:
    if not (folder / "reference").exists():
        run(folder, "reference", "reference")
    log = run(folder, checkpointing, "train", gradient_checkpointing=checkpointing, zero_stage=zero_stage)
    (measured, estimated), *_ = re.findall(r"peak memory: ([\d.]+) GiB; estimated: ([\d.]+) GiB", log)
    print(re.findall("peak memory: .*", log))
    assert float(measured) == pytest.approx(float(estimated), rel=0.2)
