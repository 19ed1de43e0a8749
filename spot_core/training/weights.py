"""The tensors in the files of a model folder, by name, without a model."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from spot_core.errors import InputError


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
