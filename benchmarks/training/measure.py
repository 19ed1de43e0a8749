"""Runs a command and watches the memory of all its processes."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_INTERVAL_SECONDS = 0.5
"""Reading the memory map of a process takes it milliseconds: at ten times a second, two ranks lost a tenth of their time."""


def run_measured(command: Sequence[str], *, env: Mapping[str, str], log_path: Path) -> int:
    """Runs ``command`` and returns the peak memory of its process tree, in bytes.

    It is the sum of proportional set sizes: pages that several ranks share (libraries) count once.

    Raises:
        RuntimeError: the command failed; with the end of its log.
    """
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, env=dict(env), stdout=log, stderr=subprocess.STDOUT)
        peak, over = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not over.wait(_INTERVAL_SECONDS):
                peak = max(peak, _tree_bytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        over.set()
        watcher.join()
    if status != 0:
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"{' '.join(command)} ended with status {status}:\n{tail}")
    return peak


def _tree_bytes(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # ended meanwhile
            continue
    return total
