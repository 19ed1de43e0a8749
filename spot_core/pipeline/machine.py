"""Whether the stages of a run can do their work on this machine: found out before anything is paid for."""

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from spot_core.config.oracle import SelfOracleConfig, VllmOracleConfig, in_order
from spot_core.config.spot import SpotConfig, StageName
from spot_core.config.train import TrainConfig
from spot_core.devices import Gpu, environment_is_for_gpus, list_gpus
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry
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
                    warnings += _check_training(model_numbers(config, model_path), config.train, gpus, host)
                case "rectify":
                    for oracle in _served_oracles(config):
                        model, engine = served_by(oracle, config)
                        path = resolve_model(model, download=False)
                        check_engine(
                            _numbers(path) or model.architecture or {}, engine, gpus=gpus, host_bytes=host
                        )
                case _:
                    engine = config.engine.model_copy(update={"base_url": None})
                    numbers = model_numbers(config, model_path) or {}
                    check_engine(numbers, engine, gpus=gpus, host_bytes=host)
        except ConfigError as error:
            raise ConfigError(f"stage {stage} cannot run on this machine: {error}") from error
    return warnings


def model_numbers(config: SpotConfig, model_path: Path | None) -> dict[str, Any] | None:
    """Returns the policy's config.json, or what `model.architecture` says of it; None if neither is known."""
    return _numbers(model_path) or config.model.architecture


def _numbers(model_path: Path | None) -> dict[str, Any] | None:
    if model_path is None:
        return None
    numbers: dict[str, Any] = json.loads((model_path / "config.json").read_text(encoding="utf-8"))
    return numbers


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
    numbers: dict[str, Any] | None, train: TrainConfig, gpus: Collection[Gpu], host_bytes: int
) -> list[str]:
    settings = resolve_ranks(train, tuple(gpus))
    check_offload(settings, on_gpu=bool(gpus))
    try:
        if numbers is None:
            return []
        Geometry.of(numbers)
    except ConfigError as error:
        return [f"whether training fits is not known: {error}"]
    sizes = [gpu.memory_bytes for gpu in list(gpus)[: settings.world_size // settings.nodes]]
    known = [size for size in sizes if size is not None]
    room = Room(host_bytes, min(known) if known and len(known) == len(sizes) else None, on_gpu=bool(gpus))
    check_fits(partial(estimate_least, numbers, on_gpu=bool(gpus)), settings, room, at_least=True)
    try:
        check_fits(partial(estimate_worst_case, numbers, on_gpu=bool(gpus)), settings, room)
    except ConfigError as error:
        return [f"if a pair fills train.context_length = {settings.context_length} twice: {error}"]
    return []
