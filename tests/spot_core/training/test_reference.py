"""A model whose log-probs cannot be trusted is refused before a pair of it is written."""

from pathlib import Path

import pytest
import torch

from spot_core.config.train import TrainConfig
from spot_core.errors import InputError
from spot_core.training.device import Place
from spot_core.training.job import TrainingJob
from spot_core.training.reference import compute_reference
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.synthetic import random_pairs

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
