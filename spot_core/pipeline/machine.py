"""Whether the stages of a run can do their work on this machine: found out before anything is paid for."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from spot_core.config.model import ModelConfig
from spot_core.config.oracle import SelfOracleConfig, VllmOracleConfig, in_order
from spot_core.config.spot import SpotConfig, StageName
from spot_core.devices import Gpu, environment_is_for_gpus, list_gpus
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry, config_from_numbers, read_model_config
from spot_core.inference.capacity import check_engine
from spot_core.models import resolve_model
from spot_core.pipeline.oracle_recipe import served_by
from spot_core.pipeline.rollout import has_responses
from spot_core.training.preflight import (
    Room,
    check_fits,
    check_offload,
    estimate_least,
    estimate_worst_case,
    resolve_ranks,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def uses_gpu(config: SpotConfig, stage: StageName) -> bool:
    """True if a stage loads a model here, rather than ask an endpoint that exists, or none."""
    match stage:
        case "rollout":
            return config.engine.base_url is None and not has_responses(config)
        case "filter":
            return False
        case "rectify":
            return bool(_served_oracles(config))
        case "train" | "evaluate":
            return True


def check_machine(config: SpotConfig, stages: Collection[StageName], *, model_path: Path | None) -> list[str]:
    """Checks that this machine has the GPUs and the memory that some stages of a run need.

    Args:
        config: the run's.
        stages: those that run here and are not complete yet.
        model_path: folder of the policy; None if it is not here, then `model.architecture` stands for it.

    Returns:
        Warnings: what may not fit, depending on the pairs.

    Raises:
        ConfigError: a stage cannot run here; with the setting to change.
    """
    gpus, host = list_gpus(), psutil.virtual_memory().available
    warnings: list[str] = []
    for stage in stages:
        if not uses_gpu(config, stage):
            continue
        try:
            _require_devices(gpus)
            match stage:
                case "train":
                    warnings += _check_training(config, model_path, gpus, host)
                case "rectify":
                    for oracle in _served_oracles(config):
                        model, engine = served_by(oracle, config)
                        path = resolve_model(model, download=False)
                        check_engine(describe_model(model, path), engine, gpus=gpus, host_bytes=host)
                case _:
                    engine = config.engine.model_copy(update={"base_url": None})
                    described = describe_model(config.model, model_path)
                    check_engine(described, engine, gpus=gpus, host_bytes=host)
        except ConfigError as error:
            raise ConfigError(f"stage {stage} cannot run on this machine: {error}") from error
    return warnings


def describe_model(model: ModelConfig, folder: Path | None) -> "PretrainedConfig | None":
    """Returns the configuration of the model in ``folder``, or of what `architecture` says of it; None without both.

    Raises:
        SpotError: transformers cannot read it.
    """
    if folder is not None:
        return read_model_config(folder, trust_remote_code=model.trust_remote_code)
    return None if model.architecture is None else config_from_numbers(model.architecture)


def _served_oracles(config: SpotConfig) -> list[VllmOracleConfig | SelfOracleConfig]:
    return [
        oracle
        for oracle in in_order(config.rectify.oracle)
        if isinstance(oracle, VllmOracleConfig | SelfOracleConfig)
        and served_by(oracle, config)[1].base_url is None
    ]


def _require_devices(gpus: Collection[Gpu]) -> None:
    if not gpus and environment_is_for_gpus():
        raise ConfigError(
            "this environment is made for GPUs, and none may be used. Look at nvidia-smi and CUDA_VISIBLE_DEVICES, or "
            "make the environment for a CPU: make setup DEVICE=cpu"
        )


def _check_training(
    config: SpotConfig, model_path: Path | None, gpus: Collection[Gpu], host_bytes: int
) -> list[str]:
    settings = resolve_ranks(config.train, tuple(gpus))
    check_offload(settings, on_gpu=bool(gpus))
    if (described := describe_model(config.model, model_path)) is None:
        return []
    try:
        model = Geometry.of(described, trust_remote_code=config.model.trust_remote_code)
    except ConfigError as error:
        return [f"whether training fits is not known: {error}"]
    sizes = [gpu.memory_bytes for gpu in list(gpus)[: settings.world_size // settings.nodes]]
    known = [size for size in sizes if size is not None]
    room = Room(host_bytes, min(known) if known and len(known) == len(sizes) else None, on_gpu=bool(gpus))
    check_fits(partial(estimate_least, model, on_gpu=bool(gpus)), settings, room, at_least=True)
    try:
        check_fits(partial(estimate_worst_case, model, on_gpu=bool(gpus)), settings, room)
    except ConfigError as error:
        return [f"if a pair fills train.context_length = {settings.context_length} twice: {error}"]
    return []
