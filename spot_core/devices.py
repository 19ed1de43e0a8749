"""What this machine computes on, told without loading torch."""

import os
from pathlib import Path


def has_gpu() -> bool:
    """True if an NVIDIA GPU is present and not hidden from this process."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and Path("/dev/nvidia0").exists()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
