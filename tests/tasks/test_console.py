"""A process whose reader was killed goes on, also with its log lines."""

import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import logging, sys
from pathlib import Path
from prefect.logging.configuration import setup_logging
from tasks.console import outlive_reader

setup_logging()
if sys.argv[2] == "outlives":
    outlive_reader()
sys.stdin.read()  # until the reader is gone
for number in range(3):
    logging.getLogger("prefect").warning("line %d", number)
    print("and one of its own", flush=True)
Path(sys.argv[1]).write_text("at the end")
"""


@pytest.mark.parametrize(("how", "goes_on"), [("outlives", True), ("does not", False)])
def test_lines_that_nobody_reads_do_not_end_the_process(tmp_path: Path, how: str, goes_on: bool):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path / "mark", how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    child.stdout.close()
    child.stderr.close()
    child.stdin.close()
    child.wait(60)
    assert (tmp_path / "mark").exists() == goes_on
    assert (child.returncode == 0) == goes_on
