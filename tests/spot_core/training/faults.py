"""Faults to plant in the code that trains and saves: each was real in this project or in another."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

Fault = Callable[[], AbstractContextManager[Any]]


def _wrapped(target: str, change: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Puts ``change(original, *args, **kwargs)`` in the place of a function of the trainer's or the reference pass'."""
    import importlib

    module, _, name = target.rpartition(".")
    original = getattr(importlib.import_module(module), name)
    return patch(target, lambda *args, **kwargs: change(original, *args, **kwargs))


def _drop_a_tensor() -> AbstractContextManager[Any]:
    def change(original: Any, *args: Any, **kwargs: Any) -> Any:
        weights = original(*args, **kwargs)
        weights.pop("model.layers.1.mlp.up_proj.weight", None)  # rank 0 has them
        return weights

    return _wrapped("spot_core.training.trainer.full_weights", change)


def _save_the_source_again() -> AbstractContextManager[Any]:
    """What is saved has the right names, and is what training began with."""

    def change(original: Any, model: Any, weights: Any, source: Any, target: Any) -> Any:
        from spot_core.training.weights import read_tensors, tensor_shapes

        return original(model, read_tensors(source, tensor_shapes(source)), source, target)

    return _wrapped("spot_core.training.trainer.export", change)


def _save_one_weight_of_the_source() -> AbstractContextManager[Any]:
    name = "model.layers.1.mlp.up_proj.weight"

    def change(original: Any, model: Any, weights: Any, source: Any, target: Any) -> Any:
        from spot_core.training.weights import read_tensors

        old = read_tensors(source, {name})[name].to(weights[name].dtype)
        return original(model, weights | {name: old}, source, target)

    return _wrapped("spot_core.training.trainer.export", change)


def _swap_two_weights() -> AbstractContextManager[Any]:
    def change(original: Any, model: Any, weights: Any, source: Any, target: Any) -> Any:
        gate, up = (f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up"))
        return original(model, weights | {gate: weights[up], up: weights[gate]}, source, target)

    return _wrapped("spot_core.training.trainer.export", change)


def _save_another_theta() -> AbstractContextManager[Any]:
    def change(original: Any, model: Any, weights: Any, source: Any, target: Any) -> Any:
        original(model, weights, source, target)
        path = target / "config.json"
        config = json.loads(path.read_text())
        config["rope_parameters"]["rope_theta"] = config["rope_theta"] = 100.0
        path.write_text(json.dumps(config))

    return _wrapped("spot_core.training.trainer.export", change)


def _leave_dropout_on() -> AbstractContextManager[Any]:
    def change(original: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs).train()

    return _wrapped("spot_core.training.trainer.load_policy", change)


def _merge_with_another_scale() -> AbstractContextManager[Any]:
    def change(original: Any, weights: Any, lora: Any, *dtypes: Any) -> Any:
        return original(weights, lora.model_copy(update={"alpha": 4 * lora.alpha}), *dtypes)

    return _wrapped("spot_core.training.trainer.merge", change)


def _merge_nothing() -> AbstractContextManager[Any]:
    def change(original: Any, weights: Any, lora: Any, *dtypes: Any) -> Any:
        return original(
            {name: w * 0 if "lora_B" in name else w for name, w in weights.items()}, lora, *dtypes
        )

    return _wrapped("spot_core.training.trainer.merge", change)


def _merge_all_but_one() -> AbstractContextManager[Any]:
    def change(original: Any, weights: Any, lora: Any, *dtypes: Any) -> Any:
        name = "model.layers.1.mlp.up_proj.lora_B.default.weight"
        return original(weights | {name: weights[name] * 0}, lora, *dtypes)

    return _wrapped("spot_core.training.trainer.merge", change)


def _count_positions_through_the_row() -> AbstractContextManager[Any]:
    def change(original: Any, *args: Any, **kwargs: Any) -> Any:
        batch = original(*args, **kwargs)
        places = batch.position_ids.new_tensor(range(batch.position_ids.shape[1]))
        return replace(batch, position_ids=places.expand_as(batch.position_ids))

    return _wrapped("spot_core.training.invariants.collate", change)


def _let_the_longest_decide_the_frequencies() -> AbstractContextManager[Any]:
    return patch("spot_core.training.device.fix_frequencies", lambda *_: None)


FAULTS: dict[str, Fault] = {
    "a dropped tensor": _drop_a_tensor,
    "the source saved again": _save_the_source_again,
    "one weight of the source": _save_one_weight_of_the_source,
    "two weights that are swapped": _swap_two_weights,
    "another theta": _save_another_theta,
    "another theta beside adapters": _save_another_theta,
    "dropout left on": _leave_dropout_on,
    "another scale of the adapters": _merge_with_another_scale,
    "one adapter that is not merged": _merge_all_but_one,
    "adapters that are not merged": _merge_nothing,
    "positions through the row": _count_positions_through_the_row,
    "frequencies of the longest": _let_the_longest_decide_the_frequencies,
}
"""By name."""
