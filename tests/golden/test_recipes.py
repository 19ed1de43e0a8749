"""Keys of artifacts do not change unless their content does: nothing that was computed or paid for is made again."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spot_core.config.profiles import profile_names
from spot_core.config.spot import STAGES, SpotConfig
from spot_core.pipeline import oracle_recipe, resolve
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from spot_core.store import Recipe
from tests.golden.golden import compare

OPENAI = {"kind": "openai", "model": "teacher", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "KEY"}
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"profile": name} for name in profile_names()},
    "openai": {"rectify": {"oracle": OPENAI}},
    "chain": {"rectify": {"oracle": {"kind": "chain", "oracles": [{"kind": "calculator"}, OPENAI]}}},
    "human": {"rectify": {"oracle": {"kind": "human"}}},
    "self": {"rectify": {"oracle": {"kind": "self"}}},
    "vllm": {"rectify": {"oracle": {"kind": "vllm", "model": {"path": "demo-student"}}}},
    "adapters": {"train": {"lora": {"rank": 8, "alpha": 16}}},
    "dpo": {"train": {"objective": "dpo", "beta": 0.05, "epochs": 3, "batch_size": 8}},
    "sft": {"train": {"objective": "sft"}},
    "sampled otherwise": {
        "rollout": {"samples": 4, "temperature": 0.7, "top_p": 0.9},
        "filter": {"keep": "first"},
    },
}


@pytest.fixture(autouse=True)
def placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and files that are not here count for their names."""
    monkeypatch.setattr(resolve, "resolve_model", lambda model, **_: Path(model.path))
    monkeypatch.setattr(resolve, "fingerprint", lambda path: f"<weights of {path.name}>")
    monkeypatch.setattr(resolve, "fingerprint_of", lambda hashes: "<trained weights>")
    monkeypatch.setattr(resolve, "content_digest", lambda source: f"<content of {source.kind}>")
    monkeypatch.setattr(oracle_recipe, "resolve_model", lambda model, **_: Path(model.path))
    monkeypatch.setattr(oracle_recipe, "fingerprint", lambda path: f"<weights of {path.name}>")


@pytest.mark.parametrize("name", VARIANTS)
def test_recipes_and_keys_of_every_stage_are_as_before(name: str, tmp_path: Path) -> None:
    overrides = dict(VARIANTS[name])
    config = SpotConfig.from_profile(overrides.pop("profile", "demo"), store=str(tmp_path), **overrides)
    run = Run.rehearse(config)

    def found(recipe: Recipe, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            digest=f"<{recipe.stage} {recipe.key}>",
            statistics={"pairs": 1, "failures": 1},
            hashes=lambda _: {},
        )

    run.store.find = found  # type: ignore[method-assign, assignment]
    resolver = Resolver(run)
    nodes = [*resolver.inputs(), *(node for stage in STAGES for node in resolver.stage(stage))]
    assert all(node.recipe for node in nodes)
    compare(
        f"recipes/{name}",
        {node.name: {"key": node.recipe.key, **asdict(node.recipe)} for node in nodes if node.recipe},
    )
