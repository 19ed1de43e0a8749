"""LoRA against what it must be: nothing at the start, only the adapters after it, and the same model once merged."""

from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from spot_core.config.train import LoraConfig
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry
from spot_core.training.activations import set_checkpointing
from spot_core.training.adapters import add_adapters, is_adapter, merge, save_adapter, targets
from spot_core.training.export import export
from tests.spot_core.training.models import GEOMETRIES, tiny_model
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_logprobs import merged_logprobs

LORA = LoraConfig(rank=4, alpha=8)
PAIRS = random_pairs(8)
LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def adapted(kind: str = "qwen3", lora: LoraConfig = LORA, seed: int = 0, dtype: torch.dtype = torch.float32):
    model = tiny_model(kind, dtype)
    add_adapters(model, lora, seed)
    return model


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def train(model: PreTrainedModel, steps: int = 20) -> list[float]:
    """Raises log π(y⁺) − log π(y⁻); returns the losses."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(steps):
        chosen, rejected = merged_logprobs(model, PAIRS).unbind(-1)
        loss = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_an_untrained_adapter_changes_no_bit_of_the_logprobs(kind: str) -> None:
    with torch.no_grad():
        plain = merged_logprobs(tiny_model(kind, torch.float32), PAIRS)
        assert torch.equal(merged_logprobs(adapted(kind), PAIRS), plain)


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_training_lowers_the_loss_and_changes_adapters_alone(kind: str) -> None:
    model = adapted(kind)
    before = weights_of(model)
    losses = train(model)
    assert losses[-1] < 0.5 * losses[0]
    for name, weight in weights_of(model).items():
        assert torch.equal(weight, before[name]) != is_adapter(name), name
    plain = {
        name.replace(".base_layer.", "."): weight for name, weight in before.items() if not is_adapter(name)
    }
    assert plain.keys() == dict(tiny_model(kind).named_parameters()).keys()


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_merged_weights_give_the_logprobs_of_the_adapters(kind: str, tmp_path: Path) -> None:
    model = adapted(kind)
    train(model)
    source = tmp_path / "base"
    tiny_model(kind, torch.float32).save_pretrained(source)
    export(
        model,
        merge(weights_of(model), LORA, torch.float32, torch.float32)[0],
        source,
        tmp_path / "checkpoint",
    )
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert {name for name, _ in loaded.named_parameters()} == {
        name for name, _ in tiny_model(kind).named_parameters()
    }
    with torch.no_grad():
        expected = merged_logprobs(model, PAIRS)
        torch.testing.assert_close(merged_logprobs(loaded, PAIRS), expected, rtol=1e-5, atol=1e-5)
        assert (expected - merged_logprobs(tiny_model(kind, torch.float32), PAIRS)).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_peft_loads_the_adapter_on_the_base_and_gives_the_merged_logits(kind: str, tmp_path: Path) -> None:
    lora = LoraConfig(rank=3, alpha=7, target_modules=("q_proj", "down_proj"))
    model = adapted(kind, lora)
    train(model)
    save_adapter(weights_of(model), lora, "some/base", tmp_path / "adapter")
    tiny_model(kind, torch.float32).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    by_peft = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert by_peft.peft_config["default"].base_model_name_or_path == "some/base"
    merged = tiny_model(kind, torch.float32)
    merged.load_state_dict(
        merge(weights_of(model), lora, torch.float32, torch.float32)[0], strict=kind == "llama"
    )
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = merged(ids).logits
        torch.testing.assert_close(by_peft(ids).logits, expected, rtol=1e-5, atol=1e-5)
        assert (expected - tiny_model(kind, torch.float32)(ids).logits).abs().max() > 0.1


def test_equal_adapters_are_written_as_equal_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save_adapter(weights_of(adapted()), LORA, "some/base", tmp_path / folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_seed_alone_decides_the_adapters() -> None:
    torch.manual_seed(7)
    first = weights_of(adapted(seed=1))
    state = torch.get_rng_state()
    second = weights_of(adapted(seed=1))
    other = weights_of(adapted(seed=2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    model = tiny_model("qwen3")
    torch.set_rng_state(state)
    add_adapters(model, LORA, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_adapters_have_the_number_format_of_the_weights_beside_them() -> None:
    model = adapted(dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_gradient_checkpointing_does_not_change_the_gradients_of_adapters(checkpointing: str) -> None:
    model = adapted(dtype=torch.float64)
    train(model, steps=2)  # B away from 0, or A has no gradient

    def found() -> dict[str, Tensor]:
        model.zero_grad()
        merged_logprobs(model, PAIRS).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    expected = found()
    set_checkpointing(model, checkpointing)
    for name, gradient in found().items():
        assert gradient.any(), name
        torch.testing.assert_close(gradient, expected[name])


def test_all_linear_means_every_layer_but_the_output() -> None:
    for kind in GEOMETRIES:
        assert targets(tiny_model(kind), LORA) == LINEAR


@pytest.mark.parametrize("name", ["nope", "lm_head", "embed_tokens"])
def test_a_target_that_cannot_have_an_adapter_is_refused_with_those_that_can(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        adapted(lora=LoraConfig(rank=4, target_modules=("q_proj", name)))
    assert f"train.lora.target_modules names {name}" in str(error.value)
    assert ", ".join(LINEAR) in str(error.value)


@pytest.mark.parametrize(
    "targets", [("all-linear",), ("q_proj", "v_proj"), ("down_proj", "o_proj", "k_proj")]
)
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_adapter_parameters_are_counted_exactly(kind: str, targets: tuple[str, ...]) -> None:
    lora = LoraConfig(rank=3, target_modules=targets)
    model = adapted(kind, lora)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert Geometry.of(model.config).adapter_parameters(lora) == trained
