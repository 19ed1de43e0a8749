"""Whether a model can be trained as the settings say, and its checkpoint be loaded: found out before anything is paid."""

from pathlib import Path

from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry, build_empty, read_model_config
from spot_core.training.adapters import add_adapters
from spot_core.training.attention import attention_kernel, why_not_joined
from spot_core.training.device import DTYPES, freeze_all_but_the_language_model
from spot_core.training.export import exported_config
from spot_core.training.rope import check_context
from spot_core.training.weights import check_tensors, saved_shapes, tensor_shapes


def check_model(config: SpotConfig, folder: Path) -> None:
    """Checks all that can be known of a model without loading its weights.

    Raises:
        SpotError: it cannot be trained so; with the reason.
    """
    train, trusted = config.train, config.model.trust_remote_code
    described = read_model_config(folder, trust_remote_code=trusted)
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"{folder} holds an adapter, not a model: merge it into its base model, and train that"
        )
    if getattr(described, "quantization_config", None) is not None:
        raise ConfigError(
            f"{folder}: the weights are quantised (quantization_config), and cannot be trained: take the model in bf16"
        )
    if described.is_encoder_decoder:
        raise ConfigError(f"{folder}: {described.model_type} has an encoder; SPoT trains decoders alone")
    check_context(described, train.context_length, config.engine.max_model_len)
    Geometry.of(described, trust_remote_code=trusted)  # refuses what has no attention
    kernel = attention_kernel(described, with_flex=False, merged=False, row_tokens=train.context_length)
    model = build_empty(described, trust_remote_code=trusted, kernel=kernel)
    if model.config.model_type != described.model_type:
        raise ConfigError(
            f"{folder}: of this {described.model_type} model transformers would train the text part alone "
            f"({model.config.model_type}), and the checkpoint would lack the rest and have other names: save the text part "
            "as a model of its own, and train that"
        )
    if model.base_model is model:
        raise ConfigError(f"{folder}: {type(model).__name__} has no base model below its output layer")
    if model.get_output_embeddings() is None:
        raise ConfigError(f"{folder}: {type(model).__name__} has no output layer that training could find")
    # What is in the files and not in the model is known when it is loaded: layers for speculation, say.
    model.unexpected_tensors = tensor_shapes(folder).keys() - saved_shapes(model).keys()
    check_tensors(folder, saved_shapes(model), model)
    exported_config(model, folder, DTYPES[train.save_dtype])
    freeze_all_but_the_language_model(model)
    if train.lora is not None:
        add_adapters(model, train.lora, train.seed)
    if train.rows == "merged" and (reason := why_not_joined(described)) is not None:
        raise ConfigError(f"train.rows = merged is wrong for this model: {reason}. Set it to auto or plain")
