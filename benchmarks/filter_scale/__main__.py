"""Rows per second and peak memory of the filter stage at several sizes, and a kill -9 in the middle.

The rollouts are made from real responses (variations of them); the stage runs as in the pipeline: real store, real
journal, real workers, in a process of its own, whose tree is watched. The last line is JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.filter_scale.responses import make_rollout
from spot_core.store import ArtifactStore

_WATCH_SECONDS = 0.2


class _Run:
    """The stage in a process of its own, with the peak of the memory of its tree (sum of resident sizes)."""

    def __init__(self, store: Path, rows: int, *, generation: int, workers: int) -> None:
        arguments = [str(store), str(rows), str(generation), str(workers)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.filter_scale.stage", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.peak_bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        root = psutil.Process(self._process.pid)
        while self._process.poll() is None:
            total = 0
            try:
                for process in [root, *root.children(recursive=True)]:
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:  # one ended meanwhile
                continue
            self.peak_bytes = max(self.peak_bytes, total)
            threading.Event().wait(_WATCH_SECONDS)

    def kill_after(self, rows: int) -> None:
        """kill -9 of the stage once so many rows were checked."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip().isdigit() and int(line) >= rows:
                break
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def report(self) -> dict[str, Any]:
        """What the stage said at its end, and the peak.

        Raises:
            RuntimeError: it failed.
        """
        output, errors = self._process.communicate()
        if self._process.returncode != 0:
            raise RuntimeError(f"the stage ended with status {self._process.returncode}:\n{errors[-3000:]}")
        return {**json.loads(output.splitlines()[-1]), "peak_bytes": self.peak_bytes}


def measure(store: Path, rows: int, workers: int) -> dict[str, Any]:
    """One undisturbed run."""
    report = _Run(store, rows, generation=0, workers=workers).report()
    report["rows_per_second"] = rows / report["seconds"]
    print(
        f"{rows:>9,} rows: {report['seconds']:7.1f} s, {report['rows_per_second']:8,.0f} rows/s, "
        f"peak {report['peak_bytes'] / 2**30:.2f} GiB, {report['statistics']['verdicts']}",
        flush=True,
    )
    return report


def kill_and_resume(store: Path, rows: int, workers: int, undisturbed: dict[str, Any]) -> dict[str, Any]:
    """A run that is killed in the middle and started again, beside the one that was not."""
    _Run(store, rows, generation=1, workers=workers).kill_after(rows // 2)
    resumed = _Run(store, rows, generation=1, workers=workers).report()
    result = {
        "rows": rows,
        "journaled_before_the_kill": resumed["journaled_before"],
        "seconds_after": resumed["seconds"],
        "bytes_equal": resumed["parts"] == undisturbed["parts"],
        "counts_equal": all(
            resumed["statistics"][name] == undisturbed["statistics"][name] for name in ("verdicts", "methods")
        ),
    }
    print(f"kill -9 and resume: {result}", flush=True)
    return result


def main(
    *,
    rows: Annotated[list[int], typer.Option(help="Sizes to measure.")] = [10_000, 100_000, 1_000_000],  # noqa: B006
    kill_rows: Annotated[int, typer.Option(help="Size of the run that is killed; 0 for none.")] = 100_000,
    workers: Annotated[int, typer.Option(help="Checking processes; 0 for one per core.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Where artifacts go; default: /tmp, removed.")] = None,
) -> None:
    """Measures the filter stage."""
    with tempfile.TemporaryDirectory(prefix="spot-filter-", dir=folder) as temporary:
        store = Path(temporary)
        for size in {*rows, kill_rows} - {0}:
            make_rollout(ArtifactStore(store), size)
        reports = {size: measure(store, size, workers) for size in rows}
        killed = None
        if kill_rows:
            undisturbed = reports.get(kill_rows) or measure(store, kill_rows, workers)
            killed = kill_and_resume(store, kill_rows, workers, undisturbed)
    sizes = {
        str(size): {
            "seconds": round(report["seconds"], 2),
            "rows_per_second": round(report["rows_per_second"]),
            "peak_gib": round(report["peak_bytes"] / 2**30, 3),
            "check_seconds": report["statistics"]["check_seconds"],
        }
        for size, report in reports.items()
    }
    print(json.dumps({"sizes": sizes, "kill": killed}))


if __name__ == "__main__":
    typer.run(main)
