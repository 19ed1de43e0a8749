"""Which activations of the forward pass are kept for the backward pass, and which are computed again."""

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import PreTrainedModel

from spot_core.config.train import Checkpointing

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


def set_checkpointing(model: PreTrainedModel, checkpointing: Checkpointing) -> None:
    """Makes the layers of ``model`` keep all activations (`none`), what is expensive (`selective`), or their input
    alone (`full`). Values and gradients are the same."""
    if checkpointing == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if checkpointing == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _keep_expensive)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
