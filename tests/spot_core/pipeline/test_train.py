"""The training stage for real, on pairs of the demo: what it leaves behind, and for whom."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM

from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.errors import ConfigError
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from spot_core.store import Artifact
from spot_core.training import watchers
from tests.spot_core.pipeline.miniature import run_stages

Configure = Callable[..., SpotConfig]


class Watcher:
    """Keeps what the stage says of its progress."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, *, note: str = "") -> None:
        self.calls.append((done, total, note))


@pytest.mark.engine
def test_the_stage_leaves_a_model_its_card_an_adapter_and_a_curve(
    configure: Configure, tmp_path: Path
) -> None:
    lora = {"rank": 2, "save_adapter": True}
    run = run_stages(
        configure(train={"lora": lora, "ranks": 1, "batch_size": 4, "learning_rate": 1e-3}), "first"
    )
    stages.compute_reference(run)
    watcher = Watcher()
    trained = stages.train_policy(run, watcher)

    assert run.store.damage(trained.folder) is None
    hashed = {entry.path for entry in trained.manifest.files}
    assert {"checkpoint/README.md", "checkpoint/model.safetensors", "checkpoint/tokenizer.json"} <= hashed
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= hashed
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder) for folder in (STUDENT_PATH, trained.file("checkpoint"))
    )
    changed = [
        name
        for (name, weight), other in zip(after.named_parameters(), before.parameters(), strict=True)
        if not torch.equal(weight, other)
    ]
    assert changed and all(name.endswith("_proj.weight") for name in changed)

    assert watcher.calls[-1][:2] == (trained.rows, trained.rows)
    assert trained.statistics["layout"] == {"rows": "merged", "attention": "sdpa", "fallback": None}
    last = list(trained.rows_as_dicts())[-1]
    assert watcher.calls[-1][2] == f"loss {last['loss']:.4f}, margin {last['margin']:+.3f}"
    _check_card(trained, run, tmp_path)
    _check_curve(trained)


def _check_card(trained: Artifact, run: Run, tmp_path: Path) -> None:
    card = ModelCard.load(trained.file("checkpoint/README.md"))
    assert card.content != (STUDENT_PATH / "README.md").read_text()
    assert card.data.library_name == "transformers" and "lora" in card.data.tags
    for digest in (trained.key, *trained.manifest.inputs.values()):
        assert digest in card.content
    median = Resolver(run).rectify().artifact.statistics["change_ratio"]["median"]
    assert f"| median | {median:.4g} |" in card.content
    texts = [card.content, json.dumps(json.loads(trained.file("adapter/adapter_config.json").read_text()))]
    assert not [text for text in texts if str(tmp_path) in text or str(STUDENT_PATH.parent) in text]


def _check_curve(trained: Artifact) -> None:
    folder = trained.folder.parent / "tensorboard" / str(trained.generation)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for name in ("loss", "margin", "lr"):
        seen = [(event.step, event.value) for event in events.Scalars(f"train/{name}")]
        expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in trained.rows_as_dicts()]
        assert seen == expected


def test_a_watcher_that_is_missing_is_told_before_any_question_is_read(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "version", lambda name: "0.31.0")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    run = Run.create(configure(train={"wandb_project": "mine"}), "unwatched")
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        stages.prepare(run)
    assert not list(run.store.root.glob("*/*/*/manifest.json"))
