"""The DeepSpeed engine: its configuration, and the fp32 weights back out of its shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.comm
import deepspeed.ops
import torch
from deepspeed.runtime.zero import DeepSpeedTensorOverride
from deepspeed.runtime.zero.parameter_offload import FWD_MODULE_STACK
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor, nn
from transformers.integrations import HfDeepSpeedConfig

from spot_core.config.train import TrainConfig
from spot_core.training.device import Place
from spot_core.training.preflight import REDUCE_BUCKET_ELEMENTS
from spot_core.training.weights import whole, whole_shape


def engine_config(settings: TrainConfig, trained: int = REDUCE_BUCKET_ELEMENTS) -> dict[str, Any]:
    """DeepSpeed's configuration. Batch sizes are nominal: we set the accumulation boundary and scale the loss.

    Args:
        trained: elements of all trained parameters.
    """
    zero: dict[str, Any] = {
        "stage": settings.zero_stage,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "reduce_bucket_size": min(trained, REDUCE_BUCKET_ELEMENTS),
    }
    if settings.cpu_offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0 if _plain(settings) else settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
    }


@contextmanager
def sharded_loading(settings: TrainConfig, place: Place) -> Iterator[None]:
    """Makes transformers shard each weight over the ranks as soon as its module exists, and then fill it from rank 0."""
    _join_deepspeed(place)
    # By default `Init` gives every new tensor the format of the weights: rotary frequencies would be rounded to bf16.
    init, device_only = deepspeed.zero.Init, [DeepSpeedTensorOverride.device]
    config = HfDeepSpeedConfig(engine_config(settings))  # in force as long as it is referred to
    deepspeed.zero.Init = partial(init, tensor_overrides=device_only)
    try:
        yield
    finally:
        deepspeed.zero.Init = init
        del config


def build_inference_engine(
    module: nn.Module, settings: TrainConfig, place: Place
) -> deepspeed.DeepSpeedEngine:
    """Returns ``module`` with its weights sharded over the ranks, gathered layer by layer in each forward pass."""
    _join_deepspeed(place)
    engine, *_ = deepspeed.initialize(model=module, config=engine_config(settings), dist_init_required=False)
    engine.eval()
    return engine


def build_engine(
    module: nn.Module, settings: TrainConfig, place: Place, *, universal: bool
) -> deepspeed.DeepSpeedEngine:
    """Returns ``module`` under ZeRO with AdamW; vectors (norms, biases) are not decayed.

    Args:
        universal: the checkpoint to go on from, if there is one, is stored by parameter and not by rank.
    """
    _join_deepspeed(place)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if len(whole_shape(p)) >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if len(whole_shape(p)) < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )
    config = engine_config(settings, sum(whole_shape(parameter).numel() for parameter in trained))
    config["checkpoint"] = {"load_universal": universal}
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=optimizer, config=config, dist_init_required=False
    )
    if _plain(settings) and place.world_size == 1:
        # DeepSpeed would copy all gradients to reduce them over one rank.
        engine.enable_backward_allreduce = False
    return engine


def give_back(engine: deepspeed.DeepSpeedEngine) -> None:
    """Ends ``engine`` and frees its memory: at stage 3 DeepSpeed keeps references to weights, gradients and optimizer."""
    optimizer, weights = engine.optimizer, list(engine.module.parameters())
    engine.destroy()
    FWD_MODULE_STACK.clear()
    if sharded := [weight.ds_tensor for weight in weights if hasattr(weight, "ds_tensor")]:
        state = vars(getattr(optimizer, "optimizer", optimizer))
        for tensor in [*sharded, *_tensors(vars(optimizer)), *_tensors(state.get("state"))]:
            tensor.data = tensor.new_empty(0)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in ``value`` and in the lists and dictionaries of it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def load_state(engine: deepspeed.DeepSpeedEngine, folder: Path, settings: TrainConfig) -> None:
    """Takes up the weights and optimizer state in ``folder``; learning rates are set at every step anyway."""
    decays = [group["weight_decay"] for group in engine.optimizer.param_groups]
    engine.load_checkpoint(
        str(folder.parent),
        tag=folder.name,
        # Frozen weights are not in it.
        load_module_strict=all(weight.requires_grad for weight in engine.module.parameters()),
        load_lr_scheduler_states=False,
    )
    if settings.zero_stage == 3:
        # From a universal checkpoint DeepSpeed gives every group the decay of the first one, and all groups one
        # counter of steps, which then runs as many times too fast.
        for group, decay in zip(engine.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        for state in engine.optimizer.optimizer.state.values():
            state["step"] = state["step"].clone()


def optimizer_step(engine: deepspeed.DeepSpeedEngine, settings: TrainConfig) -> float:
    """Clips the gradients and updates the weights; returns the gradients' global norm before clipping."""
    if _plain(settings):  # DeepSpeed clips, but does not say from what norm
        norm = torch.nn.utils.clip_grad_norm_(engine.module.parameters(), settings.max_grad_norm)
        engine.step()
        return float(norm)
    engine.step()
    return float(engine.get_global_grad_norm())


def _plain(settings: TrainConfig) -> bool:
    """True where DeepSpeed leaves weights, gradients and optimizer as PyTorch has them."""
    return settings.zero_stage == 0 and settings.precision == "fp32"


def full_weights(
    model: nn.Module, settings: TrainConfig, dtype: torch.dtype | None, *, keep: bool
) -> dict[str, Tensor]:
    """Returns the weights on the CPU, gathered from the shards one by one; trained ones from their fp32 copies.

    Every rank must call it; those that do not ``keep`` the result get an empty dict.

    Args:
        dtype: number format of the result; None leaves trained weights in fp32, and frozen ones as they are.
    """
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            full = parameter if _plain(settings) else safe_get_full_fp32_param(parameter)
            assert full is not None, f"DeepSpeed keeps no fp32 weights of {name}"
            if keep:
                weights[name] = _to_host(full, dtype)
        else:
            with whole(parameter):
                if keep:
                    weights[name] = _to_host(parameter, dtype)
    return weights


def _to_host(weight: Tensor, dtype: torch.dtype | None) -> Tensor:
    return weight.detach().to("cpu", dtype or weight.dtype).contiguous().clone()


def _join_deepspeed(place: Place) -> None:
    """Makes DeepSpeed talk through the process group that there is."""
    _leave_out_shared_memory_op()
    deepspeed.init_distributed(dist_backend=place.backend, verbose=False)


def _leave_out_shared_memory_op() -> None:
    """Keeps DeepSpeed from compiling its shared-memory collectives on a CPU: 25 s, a compiler and Python's
    headers for reductions that gloo does as well; and a rank killed while it compiles leaves a lock on which
    every later start would wait for ever."""
    deepspeed.ops.__compatible_ops__ = {}  # assigned before DeepSpeed asks, so it need not probe all its ops
