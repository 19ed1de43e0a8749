"""How large a model is, from its configuration alone: what memory is estimated from before anything is loaded.

The configuration is read by transformers, which knows what a config.json leaves out; parameters are counted on a model
without memory (PyTorch's device `meta`).
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spot_core.config.train import ALL_LINEAR, LoraConfig
from spot_core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

GIB = 2**30

_SLIDING = "sliding_attention"


def read_model_config(folder: Path, *, trust_remote_code: bool = False) -> "PretrainedConfig":
    """Returns the configuration of the model in ``folder``.

    Raises:
        InputError: transformers cannot read its config.json.
    """
    from transformers import AutoConfig  # noqa: PLC0415  (slow to import)

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'} cannot be read: {error}") from error


def config_from_numbers(numbers: dict[str, Any]) -> "PretrainedConfig":
    """Returns the configuration that has these entries of a config.json, `model_type` among them.

    Raises:
        ConfigError: transformers knows no such model.
    """
    from transformers import AutoConfig  # noqa: PLC0415  (slow to import)

    given = dict(numbers)
    try:
        return AutoConfig.for_model(given.pop("model_type"), **given)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"no model has the numbers {numbers}: {error}") from error


def build_empty(
    config: "PretrainedConfig", *, trust_remote_code: bool = False, kernel: str | None = None
) -> "PreTrainedModel":
    """Returns the model of ``config`` as training loads it, on the device `meta`: shapes and names, no memory.

    Args:
        kernel: what shall compute attention; None: whatever transformers takes.

    Raises:
        ConfigError: transformers has no causal language model of this kind.
    """
    import torch  # noqa: PLC0415  (slow to import)
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, trust_remote_code=trust_remote_code, attn_implementation=kernel
            )
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = str(error).partition(". ")[0]  # transformers goes on with links
        raise ConfigError(f"a {config.model_type} model cannot be built for training: {reason}") from error


@dataclass(frozen=True)
class Geometry:
    """Widths of a decoder, in elements."""

    parameters: int
    """Of the whole model; those that are shared count once."""
    layer_parameters: int
    """Of its largest layer."""
    windows: tuple[int | None, ...]
    """Of each layer: tokens that its attention reaches back; None: all of them."""
    hidden: int
    intermediate: int
    """Between the products of the MLP that a token passes; of a mixture, over all experts that it is sent to."""
    query: int
    key_value: int
    head: int
    vocabulary: int
    linear: tuple[tuple[str, int], ...]
    """Names that linear layers have, the output layer excepted, with the sum of their inputs and outputs."""

    @classmethod
    def of(cls, config: "PretrainedConfig", *, trust_remote_code: bool = False) -> "Geometry":
        """Reads the widths of a model and counts its parameters.

        Raises:
            ConfigError: it lacks a width, or cannot be built.
        """
        return _geometry(_Key(config, trust_remote_code))

    @property
    def layers(self) -> int:
        return len(self.windows)

    def adapter_parameters(self, lora: LoraConfig) -> int:
        """Returns rank · (inputs + outputs), summed over the linear layers that get adapters."""
        widths = dict(self.linear)
        names = set(lora.target_modules)
        if ALL_LINEAR in names:
            names = names - {ALL_LINEAR} | set(widths)
        # A name that the model does not have is refused where the adapters are made.
        return lora.rank * sum(widths.get(name, 0) for name in names)

    def expensive_activation_bytes(self, width: int) -> int:
        """Bytes per token of a layer's input and of its matrix products and attention."""
        return width * (3 * self.hidden + 2 * (self.query + self.key_value + self.intermediate))

    def layer_activation_bytes(self, width: int) -> int:
        """Bytes per token that one layer keeps for its backward pass; ``width`` bytes an activation.

        Two norms (input and output, and two fp32 copies each), q, k, v before and after the rotation,
        the repeated k and v, the attention's output, the four products of the gated MLP, two residuals.
        """
        norms = 2 * (2 * width + 8) * self.hidden
        attention = width * (2 * (self.query + 2 * self.key_value) + 3 * self.query)
        return norms + attention + width * (4 * self.intermediate + 2 * self.hidden)

    def cache_bytes(self, tokens: int, width: int) -> int:
        """Bytes of the keys and values of one sequence of so many tokens; ``width`` bytes each."""
        kept = sum(tokens if window is None else min(tokens, window) for window in self.windows)
        return 2 * self.key_value * width * kept


class _Key:
    """A configuration that equals another of the same content."""

    def __init__(self, config: "PretrainedConfig", trust_remote_code: bool) -> None:
        self.config, self.trust_remote_code = config, trust_remote_code
        self._content = (type(config), config.to_json_string(use_diff=False), trust_remote_code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)


@lru_cache(maxsize=16)
def _geometry(key: _Key) -> Geometry:
    from transformers.modeling_layers import GradientCheckpointingLayer  # noqa: PLC0415

    text = key.config.get_text_config()
    model = build_empty(key.config, trust_remote_code=key.trust_remote_code)
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    try:
        heads, key_heads, head = map(max, zip(*layer_heads(text), strict=True))
        windows = tuple(layer_windows(text))
        parameters = model.num_parameters()
        return Geometry(
            parameters=parameters,
            layer_parameters=max(
                (sum(weight.numel() for weight in layer.parameters()) for layer in layers),
                default=parameters // len(windows),
            ),
            windows=windows,
            hidden=text.hidden_size,
            intermediate=_active_intermediate(text),
            query=heads * head,
            key_value=key_heads * head,
            head=head,
            vocabulary=text.vocab_size,
            linear=_linear_layers(model),
        )
    except AttributeError as error:
        raise ConfigError(
            f"config.json of a {key.config.model_type} model has no {error.name}: memory cannot be estimated for this "
            "architecture"
        ) from error


def _linear_layers(model: "PreTrainedModel") -> tuple[tuple[str, int], ...]:
    from torch import nn  # noqa: PLC0415

    widths: Counter[str] = Counter()
    output = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not output:
            widths[name.rpartition(".")[2]] += module.in_features + module.out_features
    return tuple(sorted(widths.items()))


def _active_intermediate(text: "PretrainedConfig") -> int:
    """Width of the MLP that one token passes: of a mixture, of the experts that it is sent to and the shared ones."""
    dense: int = text.intermediate_size if isinstance(getattr(text, "intermediate_size", None), int) else 0
    chosen = getattr(text, "num_experts_per_tok", None) or getattr(text, "top_k_experts", None) or 0
    expert = getattr(text, "moe_intermediate_size", None) or dense
    shared = getattr(text, "shared_expert_intermediate_size", None)
    if shared is None:
        shared = (getattr(text, "n_shared_experts", None) or 0) * expert
    return max(dense or 4 * text.hidden_size, chosen * expert + shared)


def layer_windows(text: "PretrainedConfig") -> list[int | None]:
    """Returns how many tokens each layer of a text model sees, itself included; None: all."""
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is None:
        return [window] * text.num_hidden_layers
    return [window if kind == _SLIDING else None for kind in kinds]


def layer_heads(text: "PretrainedConfig") -> list[tuple[int, int, int]]:
    """Returns the attention heads of each layer of a text model, its heads of keys and values, and their width."""
    found = []
    for layer in range(text.num_hidden_layers):
        of_layer = text.per_layer_config[layer]
        heads = of_layer.num_attention_heads
        width = getattr(of_layer, "head_dim", None) or of_layer.hidden_size // heads
        found.append((heads, getattr(of_layer, "num_key_value_heads", None) or heads, width))
    return found
