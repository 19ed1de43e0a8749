"""Runs a command and ends its whole process tree when its owner goes away, however it went.

Used as ``python -m spot_core.processes.guard OWNER -- COMMAND…``: OWNER is the process id of who starts it, standard
input a pipe that only the owner holds. An owner that exits, crashes or is killed with SIGKILL closes the pipe, and
that is the signal; should a process that it forked hold the pipe open, the guard notices its new parent.

vLLM's and torchrun's own children survive the SIGTERM of their parent, and some make sessions of their own. So the
guard is the *subreaper* of the tree (Linux): whoever loses its parent becomes a child of the guard, no descendant can
leave the tree, and what is left is ended. There are two guards, one the parent of the other: if one is killed itself,
the other ends the tree.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

import psutil

GRACE_SECONDS = 5.0
POLL_SECONDS = 0.2
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_STOPPED = 128 + signal.SIGTERM
_MANY = 4096


def end_tree(grace_seconds: float = GRACE_SECONDS) -> None:
    """Ends every descendant of this process: SIGTERM, then SIGKILL after ``grace_seconds``."""
    deadline = time.monotonic() + grace_seconds
    for process in _descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    while alive := _descendants():
        if time.monotonic() > deadline:
            # Descendants may fork while we kill: look again until none is left.
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        psutil.wait_procs(alive, timeout=POLL_SECONDS)


def _descendants() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class _Watch:
    """What one guard looks at: its child, its owner, and whether it was told to stop."""

    def __init__(self, *, owner: int, leash: int) -> None:
        self._owner = owner
        self._leash = leash
        self._told_to_stop = False
        _become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._heed)
        self._woken, wake = os.pipe()  # a signal ends the wait below at once
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def _heed(self, number: int, _frame: object) -> None:
        self._told_to_stop = self._told_to_stop or number != signal.SIGCHLD

    def over(self, child: int) -> int | None:
        """Waits; returns the child's exit status, or None if the tree has to be ended before."""
        while (status := _reap(child)) is None:
            if self._told_to_stop or self._owner_is_gone():
                return None
        return status

    def _owner_is_gone(self) -> bool:
        readable, _, _ = select.select([self._leash, self._woken], [], [], POLL_SECONDS)
        if self._woken in readable:
            os.read(self._woken, _MANY)
        return os.getppid() != self._owner or (self._leash in readable and os.read(self._leash, 1) == b"")


def _reap(child: int) -> int | None:
    """Takes leave of all that has ended, orphans of the tree too; returns the child's exit status if it has."""
    status = None
    with contextlib.suppress(ChildProcessError):  # there is none any more
        while True:
            pid, raw = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                status = os.waitstatus_to_exitcode(raw)
    return status


def _start(command: list[str]) -> int:
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    return os.posix_spawnp(
        command[0],
        command,
        os.environ,
        file_actions=[nothing],
        setsigdef=[signal.SIGPIPE],  # which Python ignores
    )


def main(argv: list[str]) -> int:
    """Returns the command's exit status, or 128 + SIGTERM if a guard had to end it."""
    assert len(argv) > 2 and argv[1] == "--", "usage: guard OWNER -- COMMAND…"
    outer = os.getpid()
    leash, held = os.pipe()
    if inner := os.fork():
        os.close(leash)
        status = _Watch(owner=int(argv[0]), leash=sys.stdin.fileno()).over(inner)
        os.close(held)  # the inner guard ends the tree, and with it itself
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        while status is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 4)
            status = _reap(inner)
    else:
        os.close(held)
        watch = _Watch(owner=outer, leash=leash)
        status = watch.over(_start(argv[2:]))
    end_tree()  # also what the command left behind
    if status is None:
        return _STOPPED
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
