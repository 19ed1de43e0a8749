"""Which activations of the forward pass are kept for the backward pass, and which are computed again."""

import logging
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from spot_core.config.train import Checkpointing

log = logging.getLogger(__name__)

_aten = torch.ops.aten
# What is worth keeping: matrix products and attention. All else (norms, rotation, activation functions) is cheap to
# compute again, and takes more than half of the memory.
_EXPENSIVE = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
        torch.ops.higher_order.flex_attention,
    }
)


def _keep_expensive(_context: Any, operator: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _EXPENSIVE else CheckpointPolicy.PREFER_RECOMPUTE


class _Checkpointed:
    """Put before the class of a layer. transformers' own switch works in train mode only, in which dropout is on."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(partial(super().__call__, **kwargs), *args, **self.checkpoint_options)


def set_checkpointing(model: PreTrainedModel, checkpointing: Checkpointing) -> None:
    """Makes the layers of ``model`` keep all activations (`none`), what is expensive (`selective`), or their input
    alone (`full`), in eval mode too. Values and gradients are the same."""
    if checkpointing == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if checkpointing == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _keep_expensive)
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:  # code that comes with the model
        names = set(model._no_split_modules or ())
        layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        log.warning(
            "gradient_checkpointing = %s has no effect: %s does not say which of its modules are layers",
            checkpointing,
            type(model).__name__,
        )
    for layer in layers:
        layer.__class__ = type(type(layer).__name__, (_Checkpointed, type(layer)), {})
        layer.checkpoint_options = options
