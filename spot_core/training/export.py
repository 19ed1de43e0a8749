"""The trained policy as a Hugging Face folder that transformers 4.57 and 5 and vLLM load, with the same result.

config.json is the source's own file with what training changed. transformers 5 moved the rotary settings: version 4
ignores `rope_parameters` and would silently compute with theta 10,000, so that a source in the layout of version 5 gets
the keys of version 4 beside it. What version 4 has no keys for (rotary settings by layer type, but for Gemma 3 and its
like) stays as it is, and the log says so; so do architectures that version 4 does not have.
"""

import json
import logging
import shutil
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel

from spot_core.errors import InputError
from spot_core.training.weights import not_loaded, read_tensors, saved_buffers, tensor_shapes

log = logging.getLogger(__name__)

# Of the files that decide what a model answers, those that are not written anew. Folders of files that belong to it.
_COPIED = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt", "*.py", "LICENSE*", "NOTICE*")
_NOT_COPIED = ("config.json", "*.index.json", "trainer_state.json")
_FOLDERS = ("additional_chat_templates",)
# What transformers notes down about a loaded model, beside the numbers that decide what it computes.
_BOOKKEEPING = {"dtype", "architectures", "transformers_version", "_name_or_path"}
# Rotary settings that version 4 has beside `rope_scaling`, not in it.
_TOP_LEVEL = {"rope_theta", "partial_rotary_factor"}
_ROPE_TYPES = {"default", "linear", "dynamic", "yarn", "llama3", "longrope"}  # of version 4
_NAMES_OF_GPT_NEOX = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}


def export(model: PreTrainedModel, weights: dict[str, Tensor], source: Path, target: Path) -> None:
    """Writes ``weights`` as safetensors to the folder ``target``, with config and tokenizer of ``source``. Buffers that
    belong to ``model`` (routers' biases, say) are added, in their own format.

    The folder appears whole or not at all; one that is there is replaced.

    Raises:
        InputError: config.json of ``source`` does not say what ``model`` computes with.
    """
    config = exported_config(model, source, next(iter(weights.values())).dtype)
    temporary = target.with_name(target.name + ".tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    # The source's own file is copied below: transformers refuses to write some that published models have.
    model.generation_config = GenerationConfig()
    weights |= {name: buffer.cpu().clone() for name, buffer in saved_buffers(model)}
    model.save_pretrained(temporary, state_dict=weights, max_shard_size="5GB")  # may empty ``weights``
    (temporary / "generation_config.json").unlink(missing_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir() and path.name in _FOLDERS:
            shutil.copytree(path, temporary / path.name)
        elif path.is_file() and _matches(path, _COPIED) and not _matches(path, _NOT_COPIED):
            shutil.copyfile(path, temporary / path.name)
    _add_tensors(temporary, source, not_loaded(model, source) - tensor_shapes(temporary).keys())
    _write(config, temporary / "config.json")
    _name_tokenizer_as_version_4(temporary / "tokenizer_config.json")
    if target.exists():
        shutil.rmtree(target)
    temporary.replace(target)


def _add_tensors(folder: Path, source: Path, names: set[str]) -> None:
    """Adds tensors of ``source``, as they are, to the weights in ``folder``."""
    if not names:
        return
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        first = (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        with safe_open(first, framework="pt") as file:
            _write({"metadata": {}, "weight_map": dict.fromkeys(file.keys(), first.name)}, index)
    added = folder / "model-as-in-source.safetensors"
    save_file(read_tensors(source, names), added, metadata={"format": "pt"})
    known = json.loads(index.read_text(encoding="utf-8"))
    known["weight_map"] |= dict.fromkeys(sorted(names), added.name)
    _write(known, index)


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def exported_config(model: PreTrainedModel, source: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Returns the content of config.json for weights of ``model`` in ``dtype``, made from that of ``source``.

    Raises:
        InputError: read again, it would give another model than ``model``; names the fields.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    live = model.config
    config["architectures"] = [type(model).__name__]
    for part in (config, *(config[name] for name in live.sub_configs if isinstance(config.get(name), dict))):
        for name in {"dtype", "torch_dtype"} & part.keys() or ({"dtype"} if part is config else ()):
            part[name] = str(dtype).removeprefix("torch.")
    _add_rope_of_version_4(config, live)
    if different := _differences(config, live):
        raise InputError(
            f"config.json of {source} does not give the {live.model_type} model that was trained: "
            + "; ".join(f"{name} would be read as {read!r}, not {value!r}" for name, read, value in different)
            + ". Make the file say what the model has, or report this model to the project"
        )
    return config


def _add_rope_of_version_4(config: dict[str, Any], live: PretrainedConfig) -> None:
    """Adds to ``config`` and its parts what transformers 4 reads, where version 5 wrote them or no theta is in them:
    the versions' defaults differ for some kinds (OLMo 3, Cohere)."""
    for name in live.sub_configs:
        if isinstance(config.get(name), dict):
            _add_rope_of_version_4(config[name], getattr(live, name))
    if not getattr(live, "rope_parameters", None) or (
        "rope_theta" in config and not config.get("rope_parameters")
    ):
        return
    if live.attribute_map.get("num_experts") == "num_local_experts" in config:  # Qwen3-MoE's new name for it
        config.setdefault("num_experts", config["num_local_experts"])
    keys = _rope_of_version_4(live)
    both = config | keys
    # transformers 5 reads the keys of version 4 as version 4 does: see what it makes of them alone.
    alone = {name: value for name, value in both.items() if name != "rope_parameters"}
    if keys and _gives(both, live) and _gives(alone, live):
        config.update(both)
    else:
        log.warning(
            "the rotary settings of this %s model have no form that transformers 4 understands: load the checkpoint "
            "with transformers 5 or vLLM only (rope_parameters = %s)",
            live.model_type,
            live.rope_parameters,
        )


def _rope_of_version_4(live: PretrainedConfig) -> dict[str, Any]:
    """The rotary settings of ``live`` under the keys of transformers 4; empty if there are none for them."""
    parameters: dict[str, Any] = live.rope_parameters
    keys: dict[str, Any] = {}
    if live.nested_rope_parameter_keys(parameters):
        if parameters.keys() != {"full_attention", "sliding_attention"} or None in parameters.values():
            return {}
        keys["rope_local_base_freq"] = parameters["sliding_attention"]["rope_theta"]
        parameters = parameters["full_attention"]
    if parameters.get("rope_type") not in _ROPE_TYPES:
        return {}
    scaling = {name: value for name, value in parameters.items() if name not in _TOP_LEVEL}
    keys |= {name: value for name, value in parameters.items() if name in _TOP_LEVEL}
    if scaling["rope_type"] == "longrope":
        # Version 4 reads the context from the top level, and the factor from that. Its Phi-3 insists on `type`, and on
        # nothing but the two lists beside it.
        keys["original_max_position_embeddings"] = scaling.pop("original_max_position_embeddings")
        factor = live.max_position_embeddings / keys["original_max_position_embeddings"]
        if "attention_factor" not in scaling and scaling.get("factor", factor) != factor:
            return {}
        scaling["type"] = scaling.pop("rope_type")
    if scaling != {"rope_type": "default"}:
        keys["rope_scaling"] = scaling
    renamed = _NAMES_OF_GPT_NEOX if live.model_type.startswith("gpt_neox") else {}
    return {renamed.get(name, name): value for name, value in keys.items()}


def _gives(config: dict[str, Any], live: PretrainedConfig) -> bool:
    """True if ``config`` is read as ``live``."""
    try:
        return not _differences(config, live)
    except KeyError:  # transformers misses a rotary setting
        return False


def _differences(config: dict[str, Any], live: PretrainedConfig) -> list[tuple[str, Any, Any]]:
    """What differs from ``live`` if the content ``config`` of a config.json is read."""
    with tempfile.TemporaryDirectory() as folder:
        _write(config, Path(folder, "config.json"))
        return differences(type(live).from_json_file(Path(folder, "config.json")), live)


def differences(read: PretrainedConfig, live: PretrainedConfig) -> list[tuple[str, Any, Any]]:
    """Returns name, value read and value wanted of what decides what a model computes, and differs."""
    values = read.to_dict()
    pairs = ((name, _decisive(values.get(name)), _decisive(value)) for name, value in live.to_dict().items())
    return [pair for pair in pairs if pair[0] not in _BOOKKEEPING and pair[1] != pair[2]]


def _decisive(value: Any) -> Any:
    """``value`` without what does not decide what a model computes, as JSON gives it back."""
    if isinstance(value, dict):
        left_out = _BOOKKEEPING | ({"type"} if "rope_type" in value else set())  # its name in early version 4
        return {str(name): _decisive(part) for name, part in value.items() if name not in left_out}
    return [_decisive(part) for part in value] if isinstance(value, list | tuple) else value


def _name_tokenizer_as_version_4(path: Path) -> None:
    """Gives the two things that transformers 5 renamed in tokenizer_config.json the names that both versions read."""
    if not path.exists():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    renamed = dict(config)
    if config.get("tokenizer_class") == "TokenizersBackend":
        renamed["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        renamed["additional_special_tokens"] = renamed.pop("extra_special_tokens")
    if renamed != config:
        _write(renamed, path)


def _write(config: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
