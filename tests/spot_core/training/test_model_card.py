"""The card says what the checkpoint was made from, in a form that the Hugging Face hub reads."""

from typing import Any

import pytest
from huggingface_hub import ModelCard

from spot_core.config.train import LoraConfig, TrainConfig, result_settings
from spot_core.training.model_card import render_model_card

STEPS = [
    {
        "epoch": epoch,
        "pairs": pairs,
        "loss": loss,
        "margin": loss + 1,
        "delta": None,
        "tokens_per_second": 3.0,
    }
    for epoch, pairs, loss in ((0.5, 4, 1.4), (1.0, 4, 1.2), (1.5, 4, 1.0), (2.0, 1, 0.5))
]
GIVEN: dict[str, Any] = {
    "base": "some/Base-8B",
    "base_on_hub": True,
    "trust_remote_code": False,
    "sources": {"pairs": "aaaa1111", "reference": "bbbb2222", "model": "cccc3333"},
    "change_ratio": {"mean": 0.125, "median": 0.1},
    "steps": STEPS,
}


def test_the_header_is_one_that_the_hub_accepts() -> None:
    data = ModelCard(render_model_card(TrainConfig(lora=LoraConfig(rank=4)), **GIVEN)).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == (
        "some/Base-8B",
        "transformers",
        "text-generation",
    )
    assert set(data.tags) == {"spot", "surgical-post-training", "spot_bco", "lora"}


def test_a_base_that_is_not_on_the_hub_is_named_in_the_text_alone() -> None:
    card = ModelCard(render_model_card(TrainConfig(), **GIVEN | {"base": "mine", "base_on_hub": False}))
    assert card.data.base_model is None
    assert "# mine after Surgical Post-Training" in card.text


@pytest.mark.parametrize("settings", [TrainConfig(), TrainConfig(objective="dpo", lora=LoraConfig(rank=7))])
def test_every_setting_that_decides_the_weights_is_in_it(settings: TrainConfig) -> None:
    text = render_model_card(settings, **GIVEN).replace("\\", "")
    flat = result_settings(settings)
    flat |= {f"lora.{name}": value for name, value in flat.pop("lora", {}).items()}
    for name, value in flat.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = f"{value:.4g}" if isinstance(value, float) else shown
        assert f"| {name} | {shown} |" in text
    assert "| ranks |" not in text


def test_sources_edits_and_metrics_are_in_it() -> None:
    text = render_model_card(TrainConfig(), **GIVEN).replace("\\", "")
    for digest in GIVEN["sources"].values():
        assert digest in text
    assert "| mean | 0.125 |" in text
    assert "4 optimizer steps" in text
    assert f"| loss | 0.5 | {(4 * 1.0 + 1 * 0.5) / 5:.4g} |" in text  # the last epoch's, over its pairs
    assert "delta" not in text.partition("## Metrics")[2]
    assert "tokens_per_second" not in text


def test_equal_content_gives_equal_bytes() -> None:
    slower = [step | {"tokens_per_second": 1.0} for step in STEPS]
    speed = TrainConfig(ranks=4, zero_stage=3, wandb_project="mine")
    assert render_model_card(TrainConfig(), **GIVEN) == render_model_card(speed, **GIVEN | {"steps": slower})
    assert render_model_card(TrainConfig(), **GIVEN | {"change_ratio": None}).count("change ratio") == 0


def test_code_of_the_models_own_and_the_adapter_are_told_of_where_there_are_some() -> None:
    plain = render_model_card(TrainConfig(), **GIVEN)
    full = render_model_card(
        TrainConfig(lora=LoraConfig(rank=4, save_adapter=True)), **GIVEN | {"trust_remote_code": True}
    )
    for words in ("trust_remote_code=True", "PEFT"):
        assert words in full and words not in plain
