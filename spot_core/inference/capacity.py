"""How many copies of a model a vLLM server holds on this machine, and whether the model fits: known before it starts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spot_core.config.engine import EngineConfig
from spot_core.devices import Gpu, list_gpus
from spot_core.errors import ConfigError
from spot_core.geometry import GIB, Geometry

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_BATCH_INVARIANT_SINCE = 9.0
"""Compute capability that vLLM's documentation names for batch invariance."""
_CHANGES_MEMORY = (
    "--quantization",
    "-q",
    "--kv-cache-dtype",
    "--cpu-offload-gb",
    "--pipeline-parallel-size",
    "-pp",
)
"""Arguments of vLLM under which weights or cache take other memory than is computed here."""


def resolve_copies(engine: EngineConfig, gpus: Sequence[Gpu] | None = None) -> EngineConfig:
    """Returns the settings with the number of copies that this machine holds; of a server that exists `auto` is one.

    Args:
        gpus: those of the machine; unset: looked up.

    Raises:
        ConfigError: the copies take more GPUs than there are, or batch invariance other ones.
    """
    if engine.base_url is not None:
        return _with_copies(engine, 1)
    gpus = list_gpus() if gpus is None else gpus
    if engine.batch_invariant:
        _check_batch_invariance(gpus)
    each = engine.tensor_parallel_size
    if not gpus:  # without a GPU vLLM shares the cores out itself
        return _with_copies(engine, 1)
    copies = 1 if engine.data_parallel_size == "auto" else engine.data_parallel_size
    if copies * each > len(gpus):
        wanted = f"tensor_parallel_size = {each}"
        if engine.data_parallel_size != "auto":
            wanted += f" times engine.data_parallel_size = {copies}"
        most = len(gpus) // each
        remedy = "set engine.data_parallel_size to auto" if most else f"lower it to at most {len(gpus)}"
        raise ConfigError(
            f"engine.{wanted} takes {copies * each} GPUs, but this machine has {len(gpus)} that may be used "
            f"(nvidia-smi, CUDA_VISIBLE_DEVICES): {remedy}"
        )
    return _with_copies(engine, len(gpus) // each)


def _with_copies(engine: EngineConfig, copies: int) -> EngineConfig:
    if engine.data_parallel_size != "auto":
        return engine
    return engine.model_copy(update={"data_parallel_size": copies})


def check_engine(
    model_config: "PretrainedConfig | None", engine: EngineConfig, *, gpus: Sequence[Gpu], host_bytes: int
) -> None:
    """Checks that a vLLM server of this model can run on this machine; what is not known is not held against it.

    Counted is what cannot be less: the weights, and the keys and values of one request of full length.

    Args:
        model_config: the model's; None if it is not at hand.
        engine: how a server is started.
        gpus: those of the machine.
        host_bytes: memory of the machine that is free.

    Raises:
        ConfigError: there are too few GPUs, too little memory, or a setting that needs other ones.
    """
    engine = resolve_copies(engine, gpus)
    if model_config is None:
        return
    shards = engine.tensor_parallel_size
    heads = getattr(model_config.get_text_config(), "num_attention_heads", None)
    if heads is not None and heads % shards:
        raise ConfigError(
            f"engine.tensor_parallel_size = {shards} does not divide the {heads} attention heads of the model: take a "
            "number that does"
        )
    needed = _least_memory(model_config, engine)
    if needed is None:
        return
    weights, cache = needed
    if not gpus:
        _check_cpu(engine, weights, cache, host_bytes)
        return
    for gpu in gpus:
        if gpu.memory_bytes is None:
            continue
        there = engine.gpu_memory_utilization * gpu.memory_bytes
        if weights + cache > there:
            raise ConfigError(
                f"vLLM needs at least {(weights + cache) / GIB:.1f} GiB of each GPU ({weights / GIB:.1f} for weights, "
                f"{cache / GIB:.1f} for one request of engine.max_model_len = {engine.max_model_len}), but may take "
                f"{there / GIB:.1f} GiB of {gpu.name} (engine.gpu_memory_utilization = "
                f"{engine.gpu_memory_utilization:g}): raise engine.tensor_parallel_size, lower engine.max_model_len, or "
                "take a smaller model"
            )


def _check_batch_invariance(gpus: Sequence[Gpu]) -> None:
    if not gpus:
        raise ConfigError(
            "engine.batch_invariant = true, but vLLM has it on GPUs alone: set it to false on this machine"
        )
    for gpu in gpus:
        if gpu.compute_capability is not None and gpu.compute_capability < _BATCH_INVARIANT_SINCE:
            raise ConfigError(
                f"engine.batch_invariant = true needs GPUs of compute capability {_BATCH_INVARIANT_SINCE} or higher, "
                f"but {gpu.name} has {gpu.compute_capability}: set it to false"
            )


def _check_cpu(engine: EngineConfig, weights: int, cache: int, host_bytes: int) -> None:
    if cache > engine.cpu_kvcache_gib * GIB:
        raise ConfigError(
            f"one request of engine.max_model_len = {engine.max_model_len} takes {cache / GIB:.2f} GiB of keys and values, "
            f"but engine.cpu_kvcache_gib = {engine.cpu_kvcache_gib}: raise the one or lower the other"
        )
    needed = weights + engine.cpu_kvcache_gib * GIB
    if needed > host_bytes:
        raise ConfigError(
            f"vLLM needs at least {needed / GIB:.1f} GiB ({weights / GIB:.1f} for weights, engine.cpu_kvcache_gib = "
            f"{engine.cpu_kvcache_gib}), but this machine has {host_bytes / GIB:.1f} GiB free and no GPU that may be used: "
            "take a smaller model, or a machine with more memory or with GPUs"
        )


def _least_memory(model_config: "PretrainedConfig", engine: EngineConfig) -> tuple[int, int] | None:
    """Bytes of weights and of the longest request's keys and values on each device; None where they are not known."""
    text = model_config.get_text_config()
    compressed = getattr(model_config, "quantization_config", None) or getattr(text, "kv_lora_rank", None)
    if compressed or any(argument.split("=")[0] in _CHANGES_MEMORY for argument in engine.extra_args):
        return None
    try:
        model = Geometry.of(model_config)
    except ConfigError:
        return None
    stored = str(text.dtype or model_config.dtype).removeprefix("torch.")
    width = 4 if (engine.dtype if engine.dtype != "auto" else stored) == "float32" else 2
    shards = engine.tensor_parallel_size
    # More devices than heads of keys and values each hold one head.
    heads = model.key_value // model.head
    cache = model.cache_bytes(engine.max_model_len, width) // min(shards, heads)
    return width * model.parameters // shards, cache
