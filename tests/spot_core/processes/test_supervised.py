"""What a process writes to its log is passed on at a bounded rate, in the caller's context, the worst first.

No process of a supervised tree outlives its parent or its context, whichever process is killed.
"""

import contextvars
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from spot_core.processes import supervised as supervising
from spot_core.processes.supervised import MOST_LINES, LogFollower, SupervisedProcess
from tests.e2e.conftest import eventually

CALLER = contextvars.ContextVar("caller", default="nobody")


class Handler(logging.Handler):
    """Keeps what is logged and in whose context."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.callers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.callers.add(CALLER.get())

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def passed_on() -> Iterator[Handler]:
    handler, logger = Handler(), logging.getLogger(supervising.__name__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


def follow(path: Path, offset: int = 0) -> LogFollower:
    return LogFollower(path, offset=offset, name="vLLM")


def test_lines_come_while_the_process_runs_each_once_in_order_and_with_their_level(
    tmp_path, passed_on, monkeypatch
):
    monkeypatch.setattr(supervising, "INTERVAL_SECONDS", 0.01)
    path = tmp_path / "log"
    path.write_text("of an earlier attempt\n")
    CALLER.set("this run")
    following = follow(path, offset=path.stat().st_size)
    with path.open("a") as file:
        for number in range(5):
            file.write(f"WARNING {number}\nhalf of line ")
            file.flush()
            eventually(lambda n=number: len(passed_on.lines) > 2 * n, 20, "the line comes")
            file.write(f"{number}\n\n")
            file.flush()
    following.finish()
    expected = [line for n in range(5) for line in (f"vLLM | WARNING {n}", f"vLLM | half of line {n}")]
    assert passed_on.lines == expected
    assert [r.levelno for r in passed_on.records] == 5 * [logging.WARNING, logging.INFO]
    assert passed_on.callers == {"this run"}


def test_of_a_flood_the_worst_and_the_first_lines_are_passed_on_and_the_rest_is_counted(tmp_path, passed_on):
    path = tmp_path / "log"
    lines = [f"line {n}" for n in range(100_000)]
    lines[90_000:90_000] = ["ERROR: it burns", "WARNING: it smokes"]
    path.write_text("\n".join(lines))
    follow(path).finish()
    *shown, left_out = passed_on.lines
    first = [f"vLLM | line {n}" for n in range(MOST_LINES - 2)]
    assert shown == [*first, "vLLM | ERROR: it burns", "vLLM | WARNING: it smokes"]
    assert left_out == f"vLLM | … {len(lines) - MOST_LINES} lines left out; all of them are in {path}"


def test_a_last_line_without_an_end_and_a_line_that_never_ends_are_shown_in_part(tmp_path, passed_on):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5_000_000 + b"\nno end")
    follow(path).finish()
    long, last = passed_on.lines
    assert long.endswith("x …") and len(long) < 2000
    assert last == "vLLM | no end"


def test_finishing_twice_says_nothing_twice(tmp_path, passed_on):
    path = tmp_path / "log"
    path.write_text("once\n")
    following = follow(path)
    following.finish()
    following.finish()
    assert passed_on.lines == ["vLLM | once"]


# A tree as vLLM and torchrun make it: with sessions of its own, and with children that ignore SIGTERM.
TREE = "setsid sleep 987 & sleep 987 & echo started; wait"
DEAF_TREE = f"trap '' TERM; {TREE}"


def wait_for(condition, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def tree_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def supervised(script: str, folder: Path, **more) -> SupervisedProcess:
    return SupervisedProcess(["bash", "-c", script], name="shell", log_path=folder / "log", **more)


def started(process: SupervisedProcess) -> bool:
    return "started" in process.log_tail() and len(process.tree()) == 5


def alive(tree: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_leaving_the_context_ends_the_whole_tree(tmp_path):
    with supervised(DEAF_TREE, tmp_path) as process:
        assert wait_for(lambda: started(process))
        tree = process.tree()
    assert not alive(tree)


# A process that the parent forked meanwhile holds the pipe open that tells of the parent's end.
FORK = "pid = os.fork()\nif pid == 0:\n    time.sleep(30)\n    os._exit(0)\n"


@pytest.mark.parametrize("fork", ["", FORK], ids=["alone", "forked"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_parent_ends_the_whole_tree(tmp_path, how, fork):
    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from spot_core.processes.supervised import SupervisedProcess\n"
        f"process = SupervisedProcess(['bash', '-c', {TREE!r}], name='shell', log_path=Path(sys.argv[1])).__enter__()\n"
        f"{fork}print(process.pid, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    guard = int(parent.stdout.readline())
    assert wait_for(lambda: len(tree_of(guard)) == 4)
    tree = [psutil.Process(guard), *tree_of(guard)]
    os.kill(parent.pid, how)
    parent.wait()
    assert wait_for(lambda: not alive(tree))


@pytest.mark.parametrize("which", ["outer guard", "inner guard", "command"])
@pytest.mark.parametrize("meanwhile", ["the parent watches", "the parent looks away"])
def test_killing_a_guard_or_the_command_ends_the_whole_tree(tmp_path, which, meanwhile):
    with supervised(TREE, tmp_path) as process:
        assert wait_for(lambda: started(process))
        tree = process.tree()
        tree[["outer guard", "inner guard", "command"].index(which)].kill()
        if meanwhile == "the parent watches":
            assert wait_for(lambda: process.poll() is not None)
            assert process.poll() == 128 + signal.SIGKILL
        else:
            assert wait_for(lambda: not alive(tree[1:]))
    assert not alive(tree)


def test_when_both_guards_are_killed_the_parent_ends_the_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(supervising, "GRACE_SECONDS", 0.5)
    with supervised(TREE, tmp_path) as process:
        assert wait_for(lambda: started(process))
        tree = process.tree()
        os.killpg(process.pid, signal.SIGSTOP)  # neither can act when the other is gone
        for guard in tree[:2]:
            guard.kill()
        os.killpg(process.pid, signal.SIGCONT)
        assert wait_for(lambda: process.poll() is not None)
        assert wait_for(lambda: len(alive(tree)) == 3)
    assert not alive(tree)


def test_orphans_within_the_tree_leave_no_zombies(tmp_path):
    script = "for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 1; echo started; sleep 987"
    with supervised(script, tmp_path) as process:
        assert wait_for(lambda: "started" in process.log_tail())
        assert wait_for(lambda: not [p for p in process.tree() if p.status() == psutil.STATUS_ZOMBIE])


def test_the_exit_status_and_the_log_come_through(tmp_path):
    with supervised("echo out; echo err >&2; exit 7", tmp_path) as process:
        assert wait_for(lambda: process.poll() is not None)
        assert process.poll() == 7
        assert process.log_tail() == "out\nerr"


def test_a_signal_comes_through_as_a_shell_tells_it(tmp_path):
    with supervised("kill -SEGV $$", tmp_path) as process:
        assert wait_for(lambda: process.poll() is not None)
        assert process.poll() == 128 + signal.SIGSEGV


def test_what_a_command_leaves_behind_is_ended_too(tmp_path):
    with supervised("setsid sleep 987 & echo $!", tmp_path) as process:
        assert wait_for(lambda: process.poll() is not None)
        left = int(process.log_tail().strip())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_attempts_share_a_log_and_can_be_told_apart(tmp_path):
    for word in ("first", "second"):
        with supervised(f"echo {word}", tmp_path) as process:
            assert wait_for(lambda: process.poll() is not None)
            assert process.log_tail() == word
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line for line in lines if not line.startswith("===")] == ["first", "second"]
    assert [
        f"started by process {os.getpid()}: bash -c 'echo {w}'" in lines[i]
        for w, i in (("first", 0), ("second", 2))
    ]


def test_a_command_sees_no_keys_and_its_log_tail_shows_none(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_API_KEY", "canary-0123456789")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    script = "echo [$TEACHER_API_KEY] $TOKENIZERS_PARALLELISM $OWN; echo canary-0123''456789"
    with supervised(script, tmp_path, env={"OWN": "given"}) as process:
        assert wait_for(lambda: process.poll() is not None)
        assert process.log_tail() == "[] false given\n[secret]"
