"""Tokens that the reference model never writes are reported before they are trained on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.demo import STUDENT_PATH
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import Pair
from spot_core.training.rows import collate
from spot_core.training.unlikely import UnlikelyTokens
from tests.spot_core.training.demo_pairs import demo_pairs
from tests.spot_core.training.many_jobs import run_together
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
