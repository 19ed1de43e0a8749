"""LoRA: low-rank adapters beside frozen weights, and the whole model that they amount to.

    W' = W + (alpha / rank) · B A          A random, B = 0 at the start: so π_θ = π_ref and every r is 0

Adapters have the number format of the weights beside them, as all trained weights have; the optimizer works on
fp32 copies, and those are what is merged and saved.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from spot_core.config.train import ALL_LINEAR, LoraConfig
from spot_core.errors import ConfigError
from spot_core.training.weights import whole, whole_shape

_ROWS = 1024  # of a weight that are widened to float64 at once
_BASE, _A, _B = ".base_layer.", ".lora_A.default.", ".lora_B.default."


def add_adapters(model: PreTrainedModel, lora: LoraConfig, seed: int) -> None:
    """Puts adapters beside linear layers of ``model``, the same ones for the same seed, and freezes all else.

    Raises:
        ConfigError: a target is no linear layer of the model, or PEFT takes it for another weight.
    """
    import peft  # noqa: PLC0415  (only LoRA pays for its import)

    names = targets(model, lora)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            peft.inject_adapter_in_model(_peft_config(lora, names, outside=_outside(model)), model)
        except ValueError as error:
            raise ConfigError(_not_possible(model, names, str(error))) from error
    weights = Counter(id(layer.base_layer.weight) for _, layer in _adapted(model))
    for name, layer in _adapted(model):
        if weights[id(layer.base_layer.weight)] > 1:
            reason = f"{name} shares its weight with another layer, so that both cannot be merged into it"
            raise ConfigError(_not_possible(model, names, reason))
    for name, module in model.named_modules():
        if isinstance(module, peft.tuners.lora.ParamWrapper):
            reason = f"PEFT takes one of them for {name}, which holds all experts in one tensor"
            raise ConfigError(_not_possible(model, names, reason))


def targets(model: PreTrainedModel, lora: LoraConfig) -> list[str]:
    """Names of the linear layers that get an adapter, sorted; the output layer is none of them.

    Raises:
        ConfigError: a target is no linear layer of the model, or `all-linear` would leave out its experts.
    """
    output = model.get_output_embeddings()
    inside = model.get_decoder().named_modules()
    linear = {
        name.rpartition(".")[2]
        for name, kind in inside
        if isinstance(kind, nn.Linear) and kind is not output and _is_linear(kind)
    }
    wanted = set(lora.target_modules)
    if ALL_LINEAR in wanted and (fused := _fused_matrices(model)) is not None:
        what = "the experts of this model" if "expert" in fused else "some matrices of this model"
        raise ConfigError(
            f"train.lora.target_modules = {ALL_LINEAR}, but {what} ({model.config.model_type}) are one "
            f"tensor a layer ({fused}), beside which there are no adapters: name the layers that shall have some, of "
            f"{', '.join(sorted(linear))}"
        )
    if ALL_LINEAR in wanted:
        wanted = wanted - {ALL_LINEAR} | linear
    if not linear:
        raise ConfigError(
            f"train.lora: this model ({model.config.model_type}) has no linear layers of PyTorch, beside which adapters "
            "could be put: train without LoRA"
        )
    if unknown := sorted(wanted - linear):
        or_all = "" if _fused_matrices(model) else f", or give {ALL_LINEAR}"
        raise ConfigError(
            f"train.lora.target_modules names {', '.join(unknown)}: this model ({model.config.model_type}) can "
            f"have adapters at {', '.join(sorted(linear))}{or_all}"
        )
    return sorted(wanted)


def _is_linear(layer: nn.Linear) -> bool:
    """True if ``layer`` computes x Wᵀ + b: one with a way of its own (W rounded, a tuple as result) cannot be merged."""
    if type(layer).forward is nn.Linear.forward or hasattr(layer.weight, "ds_shape"):  # was looked at before
        return True
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        other = copy.deepcopy(layer).to_empty(device="cpu").float()
        for weight in other.parameters():
            weight.normal_()
        x = torch.randn(2, other.in_features)
        found = other(x)
        expected = nn.functional.linear(x, other.weight, other.bias)
        return isinstance(found, Tensor) and torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def _fused_matrices(model: PreTrainedModel) -> str | None:
    """Name of a weight that holds several matrices, one for each expert, say; None if the model has none."""
    for name, weight in model.get_decoder().named_parameters():
        if len(whole_shape(weight)) > 2 and "conv" not in name:
            return name
    return None


def _outside(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers that text does not pass through."""
    inside = {id(module) for module in model.get_decoder().modules()}
    return [
        name for name, kind in model.named_modules() if isinstance(kind, nn.Linear) and id(kind) not in inside
    ]


def _not_possible(model: PreTrainedModel, names: list[str], reason: str) -> str:
    return (
        f"train.lora.target_modules: adapters at {', '.join(names)} are not possible in this model "
        f"({model.config.model_type}): {reason}. Name other layers, or train without LoRA"
    )


def merge(
    weights: dict[str, Tensor], lora: LoraConfig, dtype: torch.dtype, read_as: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Returns the weights of the plain model in ``dtype``, named as it names them, and how much of each update is left
    in them after rounding, by the weight's name: 1 is all, and less if it is small beside the weight.

    ``weights`` are those of a model with adapters, by name; it is emptied of the plain ones on the way, so that
    the model is in memory only once.

    Args:
        read_as: number format in which the result is loaded.
    """
    merged: dict[str, Tensor] = {}
    left: dict[str, float] = {}
    for name in [name for name in weights if not is_adapter(name)]:
        plain, target = weights.pop(name), name.replace(_BASE, ".")
        layer, is_wrapped, kind = name.partition(_BASE)
        merged[target] = plain.to(dtype).contiguous()
        if is_wrapped and kind == "weight":
            product = weights[f"{layer}{_B}weight"].float() @ weights[f"{layer}{_A}weight"].float()
            update = (lora.alpha / lora.rank) * product
            merged[target] = (plain.float() + update).to(dtype).contiguous()
            kept = merged[target].to(read_as).float() - plain.float()
            size = float(update.double().square().sum())
            left[target] = float((update.double() * kept).sum()) / size if size else 1.0
    return merged, left


def is_adapter(name: str) -> bool:
    """True for the name of an adapter's weight."""
    return _A in name or _B in name


def plain_name(name: str) -> str | None:
    """Name in the plain model of a weight that merging leaves as it is; None for an adapter and for what is adapted."""
    return None if is_adapter(name) or name.endswith(f"{_BASE}weight") else name.replace(_BASE, ".")


@dataclass(frozen=True)
class Update:
    """What an adapter adds to a weight W, as PEFT computes it: ΔW = scale · B A."""

    down: Tensor  # A: (rank, in), on the CPU
    up: Tensor  # B: (out, rank), on the CPU
    scale: float
    before: float  # ⟨W, ΔW⟩

    def share_in(self, weight: Tensor) -> float:
        """Returns how much of ΔW has been added to W in ``weight``: its least-squares factor; 1 if there is no ΔW."""
        down, up = self.down.double(), self.up.double()
        size = self.scale**2 * float(((up.mT @ up) * (down @ down.mT)).sum())
        return (self.product(weight) - self.before) / size if size else 1.0

    def product(self, weight: Tensor) -> float:
        """Returns ⟨weight, ΔW⟩ in fp64, without making ΔW, some rows at a time."""
        down = self.down.to(weight.device, torch.float64)
        up = self.up.to(weight.device, torch.float64)
        blocks = zip(weight.split(_ROWS), up.split(_ROWS), strict=True)
        return self.scale * sum(float(((b.mT @ w.double()) * down).sum()) for w, b in blocks)


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers that have an adapter, by name; a layer that is shared under all of its names."""
    import peft  # noqa: PLC0415

    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, peft.tuners.lora.Linear):
            yield name, layer


def read_updates(model: nn.Module) -> dict[str, Update]:
    """Returns the update of each adapted weight, by its name in the plain model. All ranks must call it."""
    updates: dict[str, Update] = {}
    for name, layer in _adapted(model):
        down, up, base = layer.lora_A.default.weight, layer.lora_B.default.weight, layer.base_layer.weight
        with whole(down, up, base), torch.no_grad():
            update = Update(down.cpu().clone(), up.cpu().clone(), layer.scaling["default"], before=0.0)
            updates[f"{name}.weight"] = replace(update, before=update.product(base))
    return updates


def shares_of_updates(model: nn.Module, updates: Mapping[str, Update]) -> dict[str, float]:
    """Returns how much of each of ``updates`` is in the weights of a plain model. All ranks must call it."""
    shares: dict[str, float] = {}
    for name, update in updates.items():
        weight = model.get_parameter(name)
        with whole(weight), torch.no_grad():
            shares[name] = update.share_in(weight)
    return shares


def save_adapter(
    weights: Mapping[str, Tensor], lora: LoraConfig, base_model: str | None, folder: Path
) -> None:
    """Writes the adapters among ``weights`` to ``folder`` in PEFT's format.

    Args:
        base_model: what the adapter calls the model that it belongs to.
    """
    adapter = {name: weight.contiguous() for name, weight in weights.items() if is_adapter(name)}
    wrapped = {name.partition(_A)[0].rpartition(".")[2] for name in adapter if _A in name}
    config = _peft_config(lora, sorted(wrapped), base_model).to_dict()
    config = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    folder.mkdir(parents=True, exist_ok=True)
    # PEFT's own writer lists a set in the order of this process' hashes.
    text = json.dumps(config | {"inference_mode": True}, indent=2, sort_keys=True)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    named = {f"base_model.model.{name.replace('.default.', '.')}": weight for name, weight in adapter.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _peft_config(
    lora: LoraConfig, target_modules: list[str], base_model: str | None = None, *, outside: Sequence[str] = ()
) -> Any:
    import peft  # noqa: PLC0415

    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=target_modules,
        exclude_modules=list(outside) or None,
        task_type=peft.TaskType.CAUSAL_LM,
        base_model_name_or_path=base_model,
    )
