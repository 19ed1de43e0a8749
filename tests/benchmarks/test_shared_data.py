"""Benchmarks on data that is no part of the project say what they need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "module",
    ["benchmarks.calculator", "benchmarks.change_ratio", "benchmarks.checker", "benchmarks.filter_scale"],
)
def test_without_the_shared_data_a_benchmark_says_what_to_set(module, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=REPOSITORY,
        env={**os.environ, "SPOT_SHARED_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "SPOT_SHARED_DATA" in done.stderr
    assert "Traceback" not in done.stderr
