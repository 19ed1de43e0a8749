"""Runs a command and ends its whole process tree when the parent goes away, however it went.

Used as ``python -m spot_core.processes.guard -- COMMAND…`` with standard input connected to a pipe that only
the parent holds: a parent that exits, crashes or is killed with SIGKILL closes it, and that is the signal.
vLLM's and torchrun's own children survive the SIGTERM of their parent; so the guard makes itself the
*subreaper* of the tree (Linux), in which case no descendant can leave it, and ends what is left.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil

GRACE_SECONDS = 5.0
POLL_SECONDS = 0.2
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_tree(grace_seconds: float = GRACE_SECONDS) -> None:
    """Ends every descendant of this process: SIGTERM, then SIGKILL after ``grace_seconds``."""
    me = psutil.Process()
    deadline = time.monotonic() + grace_seconds
    for process in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    while True:
        alive = [p for p in me.children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return
        if time.monotonic() > deadline:
            # Descendants may fork while we kill: look again until none is left.
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        psutil.wait_procs(alive, timeout=POLL_SECONDS)


def _parent_is_gone(timeout: float) -> bool:
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], timeout)
    return bool(readable) and os.read(sys.stdin.fileno(), 1) == b""


def main(argv: list[str]) -> int:
    """Returns the command's exit status, or 128 + SIGTERM if the guard had to end it."""
    assert argv and argv[0] == "--" and len(argv) > 1, "usage: guard -- COMMAND…"
    _become_subreaper()
    asked_to_stop = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    child = subprocess.Popen(argv[1:], stdin=subprocess.DEVNULL)
    while child.poll() is None:
        if asked_to_stop or _parent_is_gone(POLL_SECONDS):
            end_tree()
            return 128 + signal.SIGTERM
    end_tree()  # what the command left behind
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
