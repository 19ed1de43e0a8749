"""A run under random faults gives what it gives in peace. The long form of it: `python -m tests.chaos`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.postgres import MISSING, programs

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(programs() is None, reason=MISSING),
]

REPOSITORY = Path(__file__).resolve().parents[2]


def test_five_faults_at_random_moments_change_no_result():
    command = [sys.executable, "-m", "tests.chaos", "--small", "--faults", "5", "--seed", "1"]
    done = subprocess.run(
        [*command, "--pause", "3", "--automatic", "0"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["faults"] == 5
    assert (report["rows_lost"], report["rows_doubled"], report["orphans"]) == (0, 0, 0)
    assert report["pairs"] > 0
    assert report["identical_artifacts"] == report["artifacts"] == 5
