"""The trained policy as a Hugging Face folder that transformers and vLLM load."""

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

# What belongs to a model folder beside config.json and the weights: tokenizer, chat template, generation
# defaults and, for models that bring their own, code.
_COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "*.jinja",
    "chat_template.json",
    "generation_config.json",
    "*.py",
)


def export(model: PreTrainedModel, weights: dict[str, Tensor], source: Path, target: Path) -> None:
    """Writes ``weights`` as safetensors to the folder ``target``, with config and tokenizer of ``source``.

    The folder appears whole or not at all; one that is there is replaced.
    """
    temporary = target.with_name(target.name + ".tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    dtype = next(iter(weights.values())).dtype
    # The source's own file is copied below: transformers refuses to write some that published models have.
    model.generation_config = GenerationConfig()
    model.save_pretrained(temporary, state_dict=weights, max_shard_size="5GB")  # may empty ``weights``
    (temporary / "generation_config.json").unlink()
    for path in sorted(source.iterdir()):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in _COPIED):
            shutil.copyfile(path, temporary / path.name)
    _record_dtype(temporary / "config.json", dtype)
    if target.exists():
        shutil.rmtree(target)
    temporary.replace(target)


def _record_dtype(config_path: Path, dtype: torch.dtype) -> None:
    """transformers records the dtype of the live model, which may not be that of the saved weights."""
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
