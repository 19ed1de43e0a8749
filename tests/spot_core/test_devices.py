import logging
from pathlib import Path

import pytest

from spot_core import devices
from spot_core.devices import Gpu, has_gpu, list_gpus

GIB = 2**30


def test_gpus_are_those_of_the_driver(fake_machine):
    fake_machine(2, gpu_gib=80)
    assert list_gpus() == (Gpu("NVIDIA H100 80GB HBM3", 80 * GIB, 9.0),) * 2
    assert has_gpu()


def test_a_gpu_needs_no_device_file(fake_machine):
    """Under WSL2 there is no /dev/nvidia0."""
    assert not list(Path("/dev").glob("nvidia[0-9]*"))
    fake_machine(1)
    assert has_gpu()


def test_what_the_driver_does_not_say_is_not_known(fake_machine):
    fake_machine(1, gpu_gib=None, capability="[N/A]")
    assert list_gpus() == (Gpu("NVIDIA H100 80GB HBM3", None, None),)


def test_an_environment_for_a_cpu_uses_no_gpu(fake_machine):
    fake_machine(8, environment_for_gpus=False)
    assert list_gpus() == ()


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        ("0", 1),
        ("0,1", 2),
        ("7,0,3", 3),
        ("", 0),
        ("-1", 0),
        ("0,99,1", 1),
        ("GPU-33f0", 1),
        ("GPU-33f0-aa,GPU-4", 2),
        ("GPU-", 0),
        ("MIG-5c89852c-d268", 1),
    ],
)
def test_hidden_gpus_do_not_count(fake_machine, monkeypatch, visible, count):
    fake_machine(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len(list_gpus()) == count


def test_a_driver_that_fails_is_said_and_no_gpu_is_used(fake_machine, monkeypatch, tmp_path, caplog):
    fake_machine(1)
    (tmp_path / "driver" / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'Driver/library version mismatch'; exit 18\n"
    )
    with caplog.at_level(logging.WARNING):
        assert list_gpus() == ()
    assert "version mismatch" in caplog.text


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    devices._query_driver.cache_clear()
    assert list_gpus() == ()
