"""What both sides share: a process of its own on one core, and a report of what it took."""

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path


def run_side(work: Callable[[], int], *, core: int) -> None:
    """Runs ``work`` on one core and prints, as JSON, the rows that it finished, seconds, CPU seconds and peak memory."""
    os.sched_setaffinity(0, {core})
    cpu, started = time.process_time(), time.perf_counter()
    rows = work()
    report = {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(report))


def raise_file_limit() -> None:
    """As many open files as this user may have: hundreds of connections may be more than the default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _peak_mb() -> float:
    """Most resident memory that this process ever had. (getrusage would begin with that of its parent.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii").split()
    return int(status[status.index("VmHWM:") + 1]) * 1024 / 1e6
