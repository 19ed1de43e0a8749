"""Rotary frequencies that depend on a model's context, not on who shares a forward pass.

transformers takes the frequencies of `longrope` and `dynamic` from the longest sequence of each pass, so that a pair's
log-probs would depend on its neighbours. vLLM, which samples, takes one set for all requests: of `longrope` the long
factors if its context (`--max-model-len`) is over the original one; of `dynamic` those without scaling. Training takes
the same.
"""

from collections.abc import Iterator
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from spot_core.errors import ConfigError

_FIXED = "fixed"


def check_context(config: PretrainedConfig, context_length: int, max_model_len: int) -> None:
    """Checks that sampling and training give a model the same rotary frequencies.

    Args:
        context_length: of training, in tokens.
        max_model_len: of the vLLM server.

    Raises:
        ConfigError: they do not; with the setting to change.
    """
    text = config.get_text_config()
    for _, kind, original in _changing(text):
        if kind == "longrope" and (context_length > original) != (max_model_len > original):
            raise ConfigError(
                f"this {text.model_type} model has other rotary factors for contexts over {original} tokens (longrope), and "
                f"train.context_length = {context_length} and engine.max_model_len = {max_model_len} are on two sides of "
                "it: what is trained would not be what is sampled. Set both to at most, or both to more than "
                f"{original}"
            )
        if kind != "longrope" and context_length > original:
            raise ConfigError(
                f"this {text.model_type} model scales its rotary frequencies by the length of each sequence over "
                f"{original} tokens (rope_type {kind}), which vLLM does not: set train.context_length (now "
                f"{context_length}) to at most {original}"
            )


def fix_frequencies(model: PreTrainedModel, context_length: int) -> None:
    """Makes ``model`` use one set of rotary frequencies whatever the sequences of a pass are."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        config = getattr(module, "config", None)
        if not isinstance(kinds, str | dict) or not isinstance(config, PretrainedConfig):
            continue
        for layer_type, kind, original in _changing(config):
            if kind == "longrope" and context_length > original:
                _set_long_factors(module, config, layer_type, original)
            if isinstance(kinds, dict):
                kinds[layer_type] = _FIXED
            else:
                module.rope_type = _FIXED


def boundaries(config: PretrainedConfig) -> list[int]:
    """Returns the sequence lengths beyond which transformers would change the frequencies of a model, sorted."""
    return sorted({original for _, _, original in _changing(config.get_text_config())})


def _set_long_factors(module: Any, config: PretrainedConfig, layer_type: str | None, original: int) -> None:
    name = "inv_freq" if layer_type is None else f"{layer_type}_inv_freq"
    frequencies, _ = ROPE_INIT_FUNCTIONS["longrope"](
        config, getattr(module, name).device, seq_len=original + 1, layer_type=layer_type
    )
    module.register_buffer(name, frequencies, persistent=False)


def _changing(text: PretrainedConfig) -> Iterator[tuple[str | None, str, int]]:
    """Layer type (None: all), kind and original context of each set of frequencies that transformers changes."""
    parameters = getattr(text, "rope_parameters", None) or {}
    by_layer = parameters if _is_nested(parameters) else {None: parameters}
    for layer_type, of_layer in by_layer.items():
        kind = (of_layer or {}).get("rope_type", "default")
        if kind == "longrope":
            yield layer_type, kind, of_layer["original_max_position_embeddings"]
        elif "dynamic" in kind:
            yield layer_type, kind, text.max_position_embeddings


def _is_nested(parameters: dict[str, Any]) -> bool:
    return bool(parameters) and all(value is None or isinstance(value, dict) for value in parameters.values())
