"""Where a rank computes, and the process group it talks through."""

import logging
import os
import resource
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError, InputError
from spot_core.geometry import read_model_config
from spot_core.training.job import TrainingJob
from spot_core.training.preflight import Room
from spot_core.training.rope import fix_frequencies
from spot_core.training.weights import check_tensors, saved_shapes

log = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
T = TypeVar("T")
_COLLECTIVE_TIMEOUT = timedelta(hours=2)  # rank 0 may merge and write 70B weights that long


@dataclass(frozen=True)
class Place:
    """One rank's place in the job."""

    rank: int
    world_size: int
    device: torch.device
    backend: Literal["gloo", "nccl"]

    @property
    def is_first(self) -> bool:
        """Rank 0 writes what all have made."""
        return self.rank == 0

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"


def join(job: TrainingJob) -> Place:
    """Joins the process group of the torchrun that started this process.

    Raises:
        ConfigError: more ranks on this node than GPUs.
    """
    backend = job.backend
    if backend == "auto":
        backend = "nccl" if torch.cuda.is_available() else "gloo"
    device = torch.device("cpu")
    if backend == "nccl":
        local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= gpus:
            raise ConfigError(
                f"ranks = {job.settings.ranks}, but {socket.gethostname()} has {gpus} GPUs: set ranks to {gpus}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=_COLLECTIVE_TIMEOUT)
    return Place(dist.get_rank(), dist.get_world_size(), device, backend)


def from_first(place: Place, look: Callable[[], T]) -> T:
    """Returns on every rank what ``look`` gives on rank 0; all must call it."""
    box: list[Any] = [look() if place.is_first else None]
    dist.broadcast_object_list(box, src=0, device=place.device)
    return box[0]


def gather(place: Place, value: T) -> list[T]:
    """Returns every rank's ``value``, by rank; all must call it."""
    if place.world_size == 1:
        return [value]
    values: list[Any] = [None] * place.world_size
    dist.all_gather_object(values, value)
    return values


def load_config(job: TrainingJob) -> PretrainedConfig:
    """config.json of the job's model."""
    return read_model_config(job.model_path, trust_remote_code=job.trust_remote_code)


def load_policy(job: TrainingJob, kernel: str, place: Place) -> PreTrainedModel:
    """The model of the job in its training precision, on its device, in eval mode: trained in it too, it has no dropout,
    whether that is a module or a call, nor other noise. π_θ equals π_ref at the start, and a step does not depend on how
    its pairs are packed.

    At ZeRO stage 3 every rank gets its shard of each weight; all ranks must call it.

    For a model on a GPU no stage needs host memory of the model's size: files are mapped, each tensor goes to the GPU
    by itself, and at stage 3 rank 0 alone reads them. For a model on the CPU below stage 3 it is the weights themselves;
    at stage 3 up to 1.4 times the whole model per rank (measured), as memory that was freed is not given back at once.

    Args:
        kernel: what computes attention.

    Raises:
        InputError: the folder lacks weights of the model, which would be random, or has others than would be saved.
    """
    disable_progress_bar()  # the log is a file
    sharded: AbstractContextManager[None] = nullcontext()
    if job.settings.zero_stage == 3:
        from spot_core.training.zero import sharded_loading  # noqa: PLC0415  (the reference pass needs DeepSpeed only here)

        sharded = sharded_loading(job.settings, place)
    with sharded:
        model, info = AutoModelForCausalLM.from_pretrained(
            job.model_path,
            dtype=DTYPES[job.settings.precision],
            attn_implementation=kernel,
            trust_remote_code=job.trust_remote_code,
            # Straight to the GPU, weight by weight.
            device_map={"": place.device} if place.on_gpu and job.settings.zero_stage < 3 else None,
            output_loading_info=True,
        )
    _refuse_missing(info, job.model_path)
    model.unexpected_tensors = set(info["unexpected_keys"])
    if model.unexpected_tensors:
        log.warning(
            "%d tensors of %s are not used by the model, and go into checkpoints as they are: %s, …",
            len(model.unexpected_tensors),
            job.model_path,
            min(model.unexpected_tensors),
        )
    _refuse_untied(model, job.model_path)
    check_tensors(job.model_path, saved_shapes(model), model)
    _set_format(model, DTYPES[job.settings.precision])
    fix_frequencies(model, job.settings.context_length)
    return model.eval().to(place.device)


def _refuse_untied(model: PreTrainedModel, folder: Path) -> None:
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    # transformers does not tie two tensors that differ, whatever config.json says.
    if getattr(model.config, "tie_word_embeddings", False) and head.weight is not embedding.weight:
        raise InputError(
            f"{folder}: config.json says that the output layer is the embedding (tie_word_embeddings = true), but the files "
            "hold two different tensors: vLLM would sample with one of them, and training use both. Set it to what is meant"
        )


def _set_format(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Gives all weights the format ``dtype``, as DeepSpeed does in training: transformers leaves some in fp32, and the
    reference, the policy and the checkpoint must compute alike."""
    other = [(n, w) for n, w in model.named_parameters() if w.is_floating_point() and w.dtype != dtype]
    if other and any(hasattr(weight, "ds_shape") for _, weight in other):
        name, weight = other[0]
        raise InputError(
            f"this {model.config.model_type} model keeps {name} in {weight.dtype}, which zero_stage = 3 cannot train with "
            f"{dtype}: set zero_stage to 2, or precision to fp32"
        )
    for _, weight in other:
        weight.data = weight.data.to(dtype)


def _refuse_missing(info: dict[str, Any], folder: Path) -> None:
    missing = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if missing or info["error_msgs"]:
        what = (
            f"{len(missing)} weights, {sorted(missing)[0]} among them" if missing else info["error_msgs"][0]
        )
        raise InputError(
            f"{folder} does not hold all weights of its model, or in another shape: {what}. They would be random: is the "
            "folder whole, and does config.json belong to it?"
        )


def freeze_all_but_the_language_model(model: PreTrainedModel) -> None:
    """Leaves what text does not pass through (a tower for images, say) as it is: without a gradient, decay would shrink
    it all the same."""
    trained = {
        id(weight)
        for part in (model.get_decoder(), model.get_output_embeddings())
        for weight in part.parameters()
    }
    frozen = [(name, weight) for name, weight in model.named_parameters() if id(weight) not in trained]
    for _, weight in frozen:
        weight.requires_grad_(requires_grad=False)
    if frozen:
        log.info("%d weights that text does not use stay as they are: %s, …", len(frozen), frozen[0][0])


def free_room(place: Place) -> Room:
    """Memory that ranks can use now: of this one's GPU, and of the machine."""
    gpu = torch.cuda.mem_get_info(place.device)[0] if place.on_gpu else None
    return Room(psutil.virtual_memory().available, gpu, on_gpu=place.on_gpu)


def peak_bytes(place: Place) -> int:
    """The most memory that this rank has had so far: of its GPU, or resident."""
    if place.on_gpu:
        return torch.cuda.max_memory_reserved(place.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def describe(settings: TrainConfig, place: Place) -> str:
    """One line for the log: each rank says it, so that a person finds its process and its GPU."""
    where = f"{place.device} ({place.backend})"
    return (
        f"rank {place.rank} of {place.world_size} is process {os.getpid()} on {where}, {settings.precision}"
    )
