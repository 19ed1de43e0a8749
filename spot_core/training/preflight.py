"""How many ranks train on a machine and how much memory each needs, known before anything is loaded or rented."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from spot_core.config.train import TrainConfig
from spot_core.devices import Gpu
from spot_core.errors import ConfigError
from spot_core.geometry import GIB, Geometry
from spot_core.training.plan import RowBudget

REDUCE_BUCKET_ELEMENTS = 50_000_000
"""Most gradient elements that DeepSpeed reduces at once, in a buffer of its own."""
LONG_ROW = 384
"""Tokens of a row from which on a CPU gains more by leaving out forbidden attention than it loses by many calls."""
LOGITS_PER_CHUNK = 2**24
"""Most logits (tokens × vocabulary) computed at once: 64 MiB in fp32, 110 tokens of a 152k vocabulary."""
LOGITS_KEPT = 2**26
"""Most that are kept from the forward to the backward pass; if there are more, they are computed again."""

_MASTER, _MOMENTS = 4, 8  # bytes per trained parameter: fp32 copy; first and second moment
_FRAMEWORK_BYTES = int(0.7 * GIB)  # torch, transformers, DeepSpeed; on a GPU the CUDA context
_NCCL_BYTES = GIB
"""Buffers of NCCL on each GPU of several: its documentation gives 4 MiB for each channel and peer (NCCL_BUFFSIZE), of
which eight GPUs have some dozens."""
_FRAGMENTATION = 0.06
"""Share of a GPU's memory that PyTorch's allocator holds and cannot use, with expandable segments. Not measured here."""
_SHARDED_LOADING = 1.4
"""Peak of a rank's memory while a model is loaded at ZeRO stage 3 on a CPU, in whole models. Measured."""
_MOST_RANKS = 1024
"""A remedy with more is none."""
_MOST_CHANGES = 3
"""A remedy that takes more of them is another configuration."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one rank needs at its peak, on the device that it trains on."""

    parameters: int
    """Of the whole model."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    framework: int
    """Libraries and their buffers."""
    margin: int
    """On a GPU: what its allocator cannot use."""
    host: int
    """Of host memory beside that: an optimizer that is kept there, and what loading takes for a moment."""

    @property
    def total(self) -> int:
        parts = (self.weights, self.gradients, self.optimizer, self.activations, self.logits)
        return sum(parts) + self.framework + self.margin

    def __str__(self) -> str:
        names = ("weights", "gradients", "optimizer", "activations", "logits", "framework", "margin")
        parts = " + ".join(f"{name} {getattr(self, name) / GIB:.2f}" for name in names if getattr(self, name))
        host = f", and {self.host / GIB:.2f} GiB of host memory" if self.host else ""
        size = f"{self.parameters / 1e6:,.1f}M parameters"
        return f"{self.total / GIB:.2f} GiB per rank ({size}: {parts}){host}"


def resolve_ranks(settings: TrainConfig, gpus: Sequence[Gpu]) -> TrainConfig:
    """Returns the settings with the number of ranks of this machine: of `auto` one for each GPU, or one without any.

    Raises:
        ConfigError: more ranks than GPUs.
    """
    if settings.ranks == "auto":
        return settings.model_copy(update={"ranks": max(1, len(gpus))})
    if gpus and settings.ranks > len(gpus):
        raise ConfigError(
            f"train.ranks = {settings.ranks}, but this machine has {len(gpus)} GPUs that may be used "
            f"(nvidia-smi, CUDA_VISIBLE_DEVICES): set train.ranks to auto or to at most {len(gpus)}"
        )
    return settings


def estimate_memory(
    model: Geometry,
    settings: TrainConfig,
    *,
    row_tokens: int,
    micro_batch_tokens: int,
    on_gpu: bool,
    dense_mask: bool,
) -> MemoryEstimate:
    """Returns what one training rank needs.

    Args:
        settings: with the number of ranks resolved.
        row_tokens: the longest planned row.
        micro_batch_tokens: the largest planned forward pass, padding included.
        dense_mask: whether attention takes a mask of (tokens × tokens).
    """
    width = 2 if settings.precision == "bf16" else 4
    count, stage, world_size = model.parameters, settings.zero_stage, settings.world_size
    adapters = model.adapter_parameters(settings.lora) if settings.lora else 0
    trained = adapters or count
    shard = trained if stage == 0 else trained // world_size
    live_layer = width * model.layer_parameters if stage == 3 else 0
    if stage == 0 and settings.precision == "fp32":
        master, gradients = 0, 4 * trained  # PyTorch's own
    else:
        master = _MASTER * shard
        gradients = 4 * (shard if stage >= 2 else trained) + 4 * min(trained, REDUCE_BUCKET_ELEMENTS)
    optimizer = master + _MOMENTS * shard
    weights = width * (count + adapters) // (world_size if stage == 3 else 1) + live_layer

    one_layer = model.layer_activation_bytes(width)
    kept_by_layer = {
        "none": one_layer,
        "selective": model.expensive_activation_bytes(width),
        "full": width * model.hidden,
    }[settings.gradient_checkpointing]
    rows = max(1, micro_batch_tokens // row_tokens)
    mask = rows * row_tokens**2 * (1 + width) if dense_mask else 0  # True/False, and the additive one
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimizer": 0 if settings.cpu_offload else optimizer,
        "activations": micro_batch_tokens * (model.layers * kept_by_layer + one_layer) + mask,
        "logits": _logit_bytes(model, micro_batch_tokens, width, frozen=bool(adapters)),
        "framework": _FRAMEWORK_BYTES + (_NCCL_BYTES if on_gpu and world_size > 1 else 0),
    }
    offloaded = optimizer + 4 * shard if settings.cpu_offload else 0  # its gradients too
    # To a GPU each tensor goes from its mapped file by itself.
    loading = int(_SHARDED_LOADING * width * count) - weights if stage == 3 and not on_gpu else 0
    return MemoryEstimate(
        parameters=count,
        **parts,
        margin=int(_FRAGMENTATION * sum(parts.values())) if on_gpu else 0,
        host=max(offloaded, loading),
    )


def _logit_bytes(model: Geometry, tokens: int, width: int, *, frozen: bool) -> int:
    """Logits at their peak, which is in the backward pass: what is kept, or a chunk in three forms; and W's gradient
    in fp32 and as it is passed on."""
    whole = tokens * model.vocabulary
    chunk = min(whole, max(LOGITS_PER_CHUNK, model.vocabulary)) * (width + 8)
    kept = 4 * whole if whole <= LOGITS_KEPT else 0
    gradient = 0 if frozen else (4 + (width if width < 4 else 0)) * model.vocabulary * model.hidden
    return chunk + kept + gradient


def estimate_worst_case(model: Geometry, settings: TrainConfig, *, on_gpu: bool) -> MemoryEstimate:
    """Returns what one rank needs before there are pairs: as if one filled the context twice without a shared token."""
    budget = RowBudget.of(settings, on_gpu=on_gpu)
    row_tokens = max(budget.row_tokens, 2 * settings.context_length)
    return estimate_memory(
        model,
        settings,
        row_tokens=row_tokens,
        micro_batch_tokens=max(budget.micro_batch_tokens, row_tokens),
        on_gpu=on_gpu,
        dense_mask=not on_gpu and row_tokens <= LONG_ROW,
    )


def check_offload(settings: TrainConfig, *, on_gpu: bool) -> None:
    """Raises ConfigError if optimizer state shall move from the GPU of a machine that has none."""
    if settings.cpu_offload and not on_gpu:
        raise ConfigError(
            "cpu_offload = True, but training runs without a GPU: optimizer state is in host memory anyway. Set "
            "cpu_offload to false"
        )


def estimate_least(model: Geometry, settings: TrainConfig, *, on_gpu: bool) -> MemoryEstimate:
    """Returns what one rank needs whatever the pairs are: with a single token."""
    return estimate_memory(
        model, settings, row_tokens=1, micro_batch_tokens=1, on_gpu=on_gpu, dense_mask=False
    )


Estimator = Callable[[TrainConfig], MemoryEstimate]
"""What one rank needs under these settings."""


@dataclass(frozen=True)
class Room:
    """Memory of the machine that ranks train on, in bytes."""

    host: int
    """What is free of the machine's own memory, which all of its ranks share."""
    gpu: int | None = None
    """Of each rank's GPU; None where the driver does not say, and without a GPU."""
    on_gpu: bool = False

    def fits(self, estimate: MemoryEstimate, settings: TrainConfig) -> bool:
        ranks = settings.world_size // settings.nodes
        if self.on_gpu:
            return (self.gpu is None or estimate.total <= self.gpu) and estimate.host * ranks <= self.host
        return (estimate.total + estimate.host) * ranks <= self.host

    def __str__(self) -> str:
        if not self.on_gpu:
            return f"this machine has {self.host / GIB:.2f} GiB free for all of its ranks"
        gpu = "" if self.gpu is None else f"a GPU has {self.gpu / GIB:.2f} GiB, and "
        return f"{gpu}this machine has {self.host / GIB:.2f} GiB free for the host memory of all ranks"


def check_fits(
    estimate_for: Estimator, settings: TrainConfig, room: Room, *, at_least: bool = False
) -> MemoryEstimate:
    """Returns what a rank needs.

    Args:
        at_least: say that the estimate is a lower bound.

    Raises:
        ConfigError: each rank has too little memory; with numbers, and remedies of which each is enough.
    """
    estimate = estimate_for(settings)
    if room.fits(estimate, settings):
        return estimate
    remedies = [text for text, _ in find_remedies(estimate_for, settings, room)]
    if not remedies:
        advice = "No change of train's settings helps: take a machine with more memory, or a smaller model"
    else:
        advice = ("Each of these is enough: " if len(remedies) > 1 else "Remedy: ") + "; ".join(remedies)
    raise ConfigError(
        f"training needs {'at least ' if at_least else ''}{estimate}, with {settings.ranks} ranks on a machine, but "
        f"{room}. {advice}"
    )


def find_remedies(
    estimate_for: Estimator, settings: TrainConfig, room: Room
) -> list[tuple[str, TrainConfig]]:
    """Returns the changes of settings under which a rank fits, each with the settings it leads to: those that are enough
    alone, or else the first of the fewest that are enough together, up to `_MOST_CHANGES`."""
    changes = list(_possible_changes(settings, room))
    for size in range(1, _MOST_CHANGES + 1):
        found: dict[str, tuple[str, TrainConfig]] = {}
        for together in combinations(changes, size):
            changed = {name: value for one in together for name, value in one.items()}
            after = _changed(settings, changed)
            if after is not None and room.fits(estimate_for(after), after):
                # Of several numbers for one setting the first is the nearest.
                found.setdefault(next(iter(changed)), (_spelt(changed), after))
                if size > 1:
                    break
        if found:
            return list(found.values())
    return []


def _possible_changes(settings: TrainConfig, room: Room) -> Iterator[dict[str, Any]]:
    """Those that cost least speed come first; the last ones train something else."""
    if settings.gradient_checkpointing == "none":
        yield {"gradient_checkpointing": "selective"}
    yield {"gradient_checkpointing": "full"}
    if settings.micro_batch_tokens is None or settings.micro_batch_tokens > settings.context_length:
        yield {"micro_batch_tokens": settings.context_length}
    if not room.on_gpu and settings.world_size > settings.nodes:
        yield {"ranks": 1}
    if settings.world_size > 1:
        yield {"zero_stage": 3}
    if settings.precision == "fp32":
        yield {"precision": "bf16", "zero_stage": max(2, settings.zero_stage)}
    if room.on_gpu:
        yield {"cpu_offload": True, "zero_stage": max(2, settings.zero_stage)}
    ranks = 2 * settings.world_size
    while room.on_gpu and ranks <= _MOST_RANKS:  # each with a GPU of its own
        yield {"ranks": ranks // settings.nodes, "zero_stage": max(2, settings.zero_stage)}
        ranks *= 2
    yield {"context_length": settings.context_length // 2}
    yield {"lora": {"rank": 16}}


def _changed(settings: TrainConfig, changes: dict[str, Any]) -> TrainConfig | None:
    """The settings with these changes; None if they are refused."""
    try:
        return TrainConfig.model_validate(settings.model_dump() | changes)
    except ValidationError:
        return None


def _spelt(changes: dict[str, Any]) -> str:
    return ", ".join(f"train.{name}={value}" for name, value in changes.items())
