"""What every test of training runs under, and the stage that several of them look at."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from spot_core.training.launch import launch
from tests.spot_core.training.stage import PAIRS, STEPS, Stage


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and other tests run beside these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """41 pairs and one over the context, with the reference log-probs that the stage's own ranks computed."""
    stage = Stage(tmp_path_factory.mktemp("training"))
    seen: list[tuple[int, int]] = []
    launch(
        stage.job("reference", "reference"),
        log_path=stage.folder / "reference.log",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (PAIRS, PAIRS)
    return stage


@pytest.fixture(scope="session")
def undisturbed(stage: Stage) -> list[dict[str, Any]]:
    """The rows of a training job of ``stage`` that nothing happened to; all of its checkpoints are kept."""
    return stage.train("undisturbed", keep_checkpoints=STEPS)
