"""No process of a supervised tree outlives its parent or its context."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from spot_core.processes.supervised import SupervisedProcess

# A tree as vLLM and torchrun make it: children that ignore SIGTERM, in sessions of their own.
TREE = "trap '' TERM; setsid sleep 987 & sleep 987 & echo started; wait"


def wait_for(condition, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def tree_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def started(process: SupervisedProcess) -> bool:
    return "started" in process.log_tail() and len(tree_of(process.pid)) >= 3


def test_leaving_the_context_ends_the_whole_tree(tmp_path):
    with SupervisedProcess(["bash", "-c", TREE], log_path=tmp_path / "log") as process:
        assert wait_for(lambda: started(process))
        tree = tree_of(process.pid)
    assert not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_parent_ends_the_whole_tree(tmp_path, how):
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from spot_core.processes.supervised import SupervisedProcess\n"
        f"with SupervisedProcess(['bash', '-c', {TREE!r}], log_path=Path(sys.argv[1])) as p:\n"
        "    print(p.pid, flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    guard = int(parent.stdout.readline())
    assert wait_for(lambda: len(tree_of(guard)) >= 3)
    tree = [psutil.Process(guard), *tree_of(guard)]
    os.kill(parent.pid, how)
    parent.wait()
    assert wait_for(lambda: not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def test_the_exit_status_and_the_log_come_through(tmp_path):
    with SupervisedProcess(
        ["bash", "-c", "echo out; echo err >&2; exit 7"], log_path=tmp_path / "log"
    ) as process:
        assert wait_for(lambda: process.poll() is not None)
        assert process.poll() == 7
        assert process.log_tail() == "out\nerr"


def test_what_a_command_leaves_behind_is_ended_too(tmp_path):
    with SupervisedProcess(
        ["bash", "-c", "setsid sleep 987 & echo $!"], log_path=tmp_path / "log"
    ) as process:
        assert wait_for(lambda: process.poll() is not None)
        left = int(process.log_tail().strip())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE
