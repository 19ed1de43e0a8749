"""Training that goes on with another number of ranks than wrote its checkpoint."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from spot_core.config.train import LoraConfig
from spot_core.training.checkpoints import find_resumable, make_universal
from spot_core.training.job import TrainingJob
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.stage import STEPS, Stage

pytestmark = pytest.mark.engine

WRITTEN = 28  # steps done, of 60


def copy_checkpoint(source: TrainingJob, target: TrainingJob) -> None:
    folder = f"step-{WRITTEN:06d}"
    shutil.copytree(source.state_dir / folder, target.state_dir / folder)
    shutil.copy(source.metrics_path, target.metrics_path)


def assert_alike(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same but for rounding: sums over ranks in another order."""
    for field in ("step", "loss", "reward_chosen", "reward_rejected", "delta", "kl", "grad_norm", "lr"):
        wanted = [row[field] for row in expected]
        assert [row[field] for row in rows] == pytest.approx(wanted, rel=1e-4, abs=1e-5), field


def test_fewer_ranks_go_on_from_the_checkpoint_of_more(
    stage: Stage, undisturbed: list[dict[str, Any]]
) -> None:
    copy_checkpoint(stage.job("undisturbed"), stage.job("fewer"))
    rows = stage.train("fewer", ranks=1, zero_stage=1)
    assert f"going on after step {WRITTEN} of {STEPS}" in (stage.folder / "fewer.log").read_text()
    assert_alike(rows, undisturbed)
    for name, weight in stage.weights("undisturbed").items():
        torch.testing.assert_close(stage.weights("fewer")[name], weight, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_every_kind_of_checkpoint_goes_on_with_fewer_or_more_ranks(stage: Stage, tmp_path: Path) -> None:
    lora = LoraConfig(rank=4)
    kinds: dict[str, dict[str, Any]] = {
        "zero0": {"zero_stage": 0},
        "zero2": {"zero_stage": 2},
        "zero3": {"zero_stage": 3},
        "lora2": {"zero_stage": 2, "lora": lora, "learning_rate": 3e-3},
        "lora3": {"zero_stage": 3, "lora": lora, "learning_rate": 3e-3},
    }
    written = {
        name: stage.job(f"{name}-by-2", **kind, keep_checkpoints=STEPS) for name, kind in kinds.items()
    }
    run_together(list(written.values()), tmp_path / "written.log")
    others = {
        (name, ranks): stage.job(f"{name}-by-{ranks}", **kind, ranks=ranks)
        for name, kind in kinds.items()
        for ranks in (1, 3)
    }
    for (name, _), job in others.items():
        copy_checkpoint(written[name], job)
        found = find_resumable(job)
        if not found.fits(job.settings):
            make_universal(job, found, log_path=tmp_path / "universal.log")
    run_together(list(others.values()), tmp_path / "others.log")
    for (name, ranks), job in others.items():
        assert_alike(stage.metrics(job), stage.metrics(written[name]))
        for weight, value in stage.weights(f"{name}-by-2").items():
            torch.testing.assert_close(stage.weights(f"{name}-by-{ranks}")[weight], value, rtol=0, atol=1e-6)
