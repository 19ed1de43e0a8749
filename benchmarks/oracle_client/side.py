"""What both sides share: a process of its own on one core, and a report of what it took."""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path


class Options(argparse.Namespace):
    """What a side is told on its command line."""

    address: str
    folder: Path
    rows: int
    concurrency: int
    core: int
    stream: bool


def run_side(prepare: Callable[[Options], Callable[[], int]]) -> None:
    """Prepares the work, does it on one core, and prints, as JSON, the rows that it finished and what it took.

    That is seconds, CPU seconds and peak memory, of the work alone.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args(namespace=Options())
    work = prepare(options)
    os.sched_setaffinity(0, {options.core})
    cpu, started = time.process_time(), time.perf_counter()
    rows = work()
    report = {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(report))


def _peak_mb() -> float:
    """Most resident memory that this process ever had. (getrusage would begin with that of its parent.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii").split()
    return int(status[status.index("VmHWM:") + 1]) * 1024 / 1e6
