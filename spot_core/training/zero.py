"""The DeepSpeed engine: its configuration, and the fp32 weights back out of its shards."""

from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.comm
import torch
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor, nn

from spot_core.config.train import TrainConfig
from spot_core.training.device import Place
from spot_core.training.preflight import REDUCE_BUCKET_ELEMENTS


def engine_config(settings: TrainConfig, parameters: int) -> dict[str, Any]:
    """DeepSpeed's configuration. Batch sizes are nominal: we set the accumulation boundary and scale the loss."""
    zero: dict[str, Any] = {
        "stage": settings.zero_stage,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "reduce_bucket_size": min(parameters, REDUCE_BUCKET_ELEMENTS),
    }
    if settings.cpu_offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
    }


def build_engine(
    module: nn.Module, settings: TrainConfig, place: Place, *, universal: bool
) -> deepspeed.DeepSpeedEngine:
    """Returns ``module`` under ZeRO with AdamW; vectors (norms, biases) are not decayed.

    Args:
        universal: the checkpoint to go on from, if there is one, is stored by parameter and not by rank.
    """
    _leave_out_shared_memory_op()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.learning_rate, betas=settings.betas
    )
    config = engine_config(settings, sum(parameter.numel() for parameter in trained))
    config["checkpoint"] = {"load_universal": universal}
    deepspeed.init_distributed(dist_backend=place.backend, verbose=False)
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=optimizer, config=config, dist_init_required=False
    )
    return engine


def load_state(engine: deepspeed.DeepSpeedEngine, folder: Path) -> None:
    """Takes up the weights and optimizer state in ``folder``; learning rates are set at every step anyway."""
    decays = [group["weight_decay"] for group in engine.optimizer.param_groups]
    engine.load_checkpoint(str(folder.parent), tag=folder.name, load_lr_scheduler_states=False)
    # From a universal checkpoint at stage 3, DeepSpeed gives every group the decay of the first one, and all groups
    # one counter of steps, which then runs as many times too fast.
    for group, decay in zip(engine.optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay
    for state in engine.optimizer.optimizer.state.values():
        state["step"] = state["step"].clone()


def full_weights(model: nn.Module, dtype: torch.dtype, *, keep: bool) -> dict[str, Tensor]:
    """Returns the weights in ``dtype`` on the CPU, gathered from the fp32 shards one by one.

    Every rank must call it; those that do not ``keep`` the result get an empty dict.
    """
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        full = safe_get_full_fp32_param(parameter) if parameter.requires_grad else parameter.data
        assert full is not None, f"DeepSpeed keeps no fp32 weights of {name}"
        if keep:
            weights[name] = full.detach().to("cpu", dtype).contiguous().clone()
    return weights


def _leave_out_shared_memory_op() -> None:
    """Keeps DeepSpeed from compiling its shared-memory collectives on a CPU: 25 s, a compiler and Python's
    headers for reductions that gloo does as well; and a rank killed while it compiles leaves a lock on which
    every later start would wait for ever."""
    from deepspeed.ops import __compatible_ops__ as compatible  # noqa: PLC0415

    compatible["deepspeed_shm_comm"] = False
