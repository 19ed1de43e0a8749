"""Tokens that the reference model never writes are reported before they are trained on.

A model whose log-probs cannot be trusted is refused before a pair of it is written.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.demo import STUDENT_PATH
from spot_core.errors import InputError
from spot_core.training.device import Place
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import Pair
from spot_core.training.reference import UnlikelyTokens, compute_reference
from spot_core.training.rows import collate
from tests.spot_core.training.demo_pairs import demo_pairs
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_pairs import write_pairs

FOREIGN = 2  # <|unk|>, which the student never writes
SETTINGS = TrainConfig(precision="fp32", context_length=256, ranks=2)


def swapped(pair: Pair) -> Pair:
    return replace(pair, chosen=np.array([*pair.chosen[:-1], FOREIGN], np.int32))


def spoilt(pair: Pair) -> Pair:
    """With a piece of a template before the response."""
    return replace(pair, chosen=np.array([FOREIGN, *pair.chosen], np.int32))


@pytest.mark.engine
def test_a_foreign_end_of_the_turn_and_pieces_of_templates_are_named_with_an_example(tmp_path: Path) -> None:
    pairs = demo_pairs(40)
    changed = {
        "right": pairs,
        "swapped": [*pairs[:10], *map(swapped, pairs[10:])],
        "spoilt": list(map(spoilt, pairs)),
    }
    jobs = {}
    for name, some in changed.items():
        jobs[name] = TrainingJob(
            mode="reference",
            model_path=STUDENT_PATH,
            pairs=(write_pairs(tmp_path / f"{name}.parquet", some),),
            reference=None,
            settings=SETTINGS,
            output_dir=tmp_path / name,
            scratch_dir=tmp_path / f"{name}-scratch",
            backend="gloo",
        )
    run_together(list(jobs.values()), tmp_path / "log.txt")
    found = {name: json.loads(job.unlikely_path.read_text()) for name, job in jobs.items()}
    assert found["right"] == []
    [row] = found["swapped"]
    assert (row["token_id"], row["pairs"], row["standing"]) == (FOREIGN, 30, 30)
    assert row["median_logprob"] < -15
    assert (row["question_id"], row["sample"]) in {pair.key for pair in pairs[10:]}
    [row] = found["spoilt"]
    assert (row["token_id"], row["pairs"]) == (FOREIGN, 40)


def test_an_edit_that_is_unlikely_in_one_place_is_none() -> None:
    pairs = [replace(pair, chosen=np.array([7, 8, 9, 3, 4, 5, 1], np.int32)) for pair in random_pairs(8)]
    tokens = UnlikelyTokens()
    for index, pair in enumerate(pairs):
        batch = collate([pair], ((0,),))
        by_token = torch.full((len(batch.edge_token),), -1.0)
        if index < 3:
            by_token[batch.edge_token == 8] = -30.0
        by_token[batch.edge_token == 9] = -12.0 if index else -1.0
        tokens.add(batch, by_token, [pair])
    [row] = tokens.report()
    assert (row["token_id"], row["pairs"], row["standing"]) == (9, 7, 8)
    other = UnlikelyTokens()
    other.merge([tokens, tokens])
    assert other.report()[0]["pairs"] == 14


HERE = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")


def reference_job(folder: Path) -> TrainingJob:
    return TrainingJob(
        mode="reference",
        model_path=folder / "model",
        pairs=(),
        settings=TrainConfig(precision="fp32"),
        output_dir=folder,
        scratch_dir=folder,
    )


def test_not_a_number_in_the_weights_is_named_as_the_cause(tmp_path: Path) -> None:
    model = tiny_model("qwen3", torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = torch.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="log-prob nan: look for NaN or infinity in its weights"):
        compute_reference(reference_job(tmp_path), random_pairs(2), HERE)


def test_a_model_that_does_more_with_its_logits_is_refused(tmp_path: Path) -> None:
    model = tiny_model(
        "hyperclovax", torch.float32, logits_scaling=8.0
    )  # it multiplies, where Granite divides
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"hyperclovax.*differ from the model's own by .* nats per token"):
        compute_reference(reference_job(tmp_path), random_pairs(2), HERE)
