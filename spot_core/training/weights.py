"""The tensors in the files of a model folder, by name, and those that a model will be saved as."""

import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from spot_core.errors import InputError

_FEW_NAMES = 4


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor in a model folder.

    Raises:
        InputError: the folder holds no weights.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        else:
            shapes |= {name: tuple(value.shape) for name, value in _load(path, "meta").items()}
    return shapes


def read_tensors(folder: Path, names: Collection[str]) -> dict[str, Tensor]:
    """Returns some tensors of a model folder; a name that is nowhere is left out.

    Raises:
        InputError: the folder holds no weights.
    """
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys() if name in names}  # noqa: SIM118
        else:
            tensors |= {
                name: value.contiguous() for name, value in _load(path, "cpu").items() if name in names
            }
    return tensors


def saved_shapes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors that ``model`` is saved as, by their names in the files: transformers splits and
    renames some on the way. Of weights that are shared one name is among them."""
    tensors = {
        name: torch.empty(whole_shape(weight), device="meta") for name, weight in model.named_parameters()
    }
    tensors |= {name: torch.empty(buffer.shape, device="meta") for name, buffer in saved_buffers(model)}
    return {name: tuple(value.shape) for name, value in revert_weight_conversion(model, tensors).items()}


def saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that a state dict of ``model`` has, by name."""
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, buffer


def not_loaded(model: PreTrainedModel, source: Path) -> set[str]:
    """Returns the names of tensors of ``source`` that ``model`` does without, e.g. layers for speculation."""
    patterns = [
        *(model._keys_to_ignore_on_load_unexpected or ()),
        r"rotary_emb\.inv_freq",
        r"(^|\.)position_ids$",
    ]
    names = tensor_shapes(source).keys()
    ignored = {name for name in names if any(re.search(pattern, name) for pattern in patterns)}
    return ignored | (getattr(model, "unexpected_tensors", set()) & names)


def tied_names(model: PreTrainedModel) -> set[str]:
    """Returns the names of the weights of ``model`` that are another's: files may have them or not."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {*tied.keys(), *tied.values()}


def whole_shape(weight: Tensor) -> torch.Size:
    """Of the whole weight, of which this rank may have a shard."""
    shape: torch.Size = getattr(weight, "ds_shape", weight.shape)
    return shape


@contextmanager
def whole(*weights: Tensor) -> Iterator[None]:
    """Within it, ``weights`` are whole, which may be sharded over the ranks (ZeRO stage 3); all ranks must enter it."""
    if not any(hasattr(weight, "ds_shape") for weight in weights):
        yield
        return
    import deepspeed  # noqa: PLC0415  (only shards need it)

    with deepspeed.zero.GatheredParameters(list(weights)):
        yield


def checksums(model: nn.Module, dtypes: Sequence[torch.dtype]) -> dict[str, int]:
    """Returns a checksum of the bytes of every weight of ``model``, and of every buffer that is saved with it, by name. All
    ranks must call it.

    Args:
        dtypes: number formats that a weight is rounded to first, one after the other.
    """
    sums = {name: _checksum(buffer) for name, buffer in saved_buffers(model)}
    for name, parameter in model.named_parameters():
        with whole(parameter):
            weight = parameter.detach()
            for dtype in dtypes:
                weight = weight.to(dtype)
            sums[name] = _checksum(weight)
    return sums


def _checksum(tensor: Tensor) -> int:
    flat = tensor.detach().to("cpu").contiguous().flatten()
    return zlib.crc32(flat.view(torch.uint8).numpy(), flat.numel())


def check_tensors(source: Path, saved: Mapping[str, tuple[int, ...]], model: PreTrainedModel) -> None:
    """Checks that what is saved of ``model``, or will be, has the tensors of ``source``, by name and shape.

    Of weights that are shared either may have one name or all; what ``model`` did not load is copied and may be missing.

    Raises:
        InputError: one is missing, new, or has another shape.
    """
    wanted = tensor_shapes(source)
    optional = tied_names(model) | not_loaded(model, source)
    problems = {
        "missing": wanted.keys() - saved.keys() - optional,
        "not in the source": saved.keys() - wanted.keys() - optional,
        "of another shape": {n for n in wanted.keys() & saved.keys() if wanted[n] != saved[n]},
    }
    found = [
        f"{what}: {', '.join(sorted(names)[:_FEW_NAMES])}" + (" …" if len(names) > _FEW_NAMES else "")
        for what, names in problems.items()
        if names
    ]
    if found:
        raise InputError(
            f"a checkpoint of this {model.config.model_type} model does not have the tensors of {source}: {'; '.join(found)}. "
            "What is saved would not be what was trained: does config.json there belong to the weights, and are they named as "
            "transformers saves them (else load the model and save it anew)?"
        )


def _load(path: Path, device: str) -> dict[str, Tensor]:
    content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: safetensors before others, a single file before an index."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [folder / place for place in sorted(set(places))]
    raise InputError(f"the model folder {folder} holds no weights (model.safetensors, pytorch_model.bin)")
