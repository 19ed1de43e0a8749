"""200 calls at once to an endpoint that takes a second for each: how close do we come to 200 rows a second?

    python -m benchmarks.oracle_client

Each side has a process and one core of its own (the same core, one side after the other); the endpoint has another one.
Ideal is rows × seconds / concurrency. The last line is JSON: medians over `--runs`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

SIDES = {
    "ours": ["benchmarks.oracle_client.ours"],
    "ours, streamed": ["benchmarks.oracle_client.ours", "--stream"],
    "thread pool": ["benchmarks.oracle_client.thread_pool", "--stream"],
    "thread pool, not streamed": ["benchmarks.oracle_client.thread_pool"],
}
_MEASURED = ("share_of_ideal", "rows_per_second", "cpu_share", "peak_mb")


@contextmanager
def _endpoint(seconds: float, words: int, core: int) -> Iterator[str]:
    """The address of the endpoint, on a core of its own."""
    command = [sys.executable, "-m", "tests.spot_core.inference.fake_openai", "--seconds", str(seconds)]
    command += ["--words", str(words), "--chat", "benchmarks.oracle_client.rows:edited"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        os.sched_setaffinity(server.pid, {core})
        try:
            yield next(line.strip() for line in server.stdout if line.startswith("http"))
        finally:
            server.terminate()


def _measure(
    side: str, address: str, *, rows: int, seconds: float, concurrency: int, core: int
) -> dict[str, float]:
    module, *options = SIDES[side]
    with tempfile.TemporaryDirectory(prefix="spot-oracle-client-") as folder:
        command = [sys.executable, "-m", module, address, folder, *options, "--core", str(core)]
        command += ["--rows", str(rows), "--concurrency", str(concurrency)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if report["rows"] != rows:
        raise RuntimeError(f"{side}: {report['rows']} of {rows} rows came back right")
    return {
        "share_of_ideal": rows * seconds / concurrency / report["seconds"],
        "rows_per_second": rows / report["seconds"],
        "cpu_share": report["cpu_seconds"] / report["seconds"],
        "peak_mb": report["peak_mb"],
    }


def main(
    *,
    rows: Annotated[int, typer.Option(min=1)] = 5_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls in flight at once, or threads.")] = 200,
    seconds: Annotated[float, typer.Option(help="That the endpoint takes for each call.")] = 1.0,
    words: Annotated[int, typer.Option(min=1, help="In each piece of a streamed reply.")] = 20,
    runs: Annotated[int, typer.Option(min=1, help="Of each side, by turns; medians are reported.")] = 1,
    streaming: Annotated[bool, typer.Option(help="Also: ours streamed, the thread pool not.")] = False,
) -> None:
    """Measures both sides."""
    core, *others = sorted(os.sched_getaffinity(0))
    sides = list(SIDES) if streaming else ["ours", "thread pool"]
    measured: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with _endpoint(seconds, words, others[-1] if others else core) as address:
        for _ in range(runs):
            for side in sides:
                one = _measure(side, address, rows=rows, seconds=seconds, concurrency=concurrency, core=core)
                measured[side].append(one)
                print(
                    f"{side:>26}: {one['rows_per_second']:6.1f} rows/s, {one['share_of_ideal']:6.1%} of ideal, "
                    f"{one['cpu_share']:6.1%} of a core, peak {one['peak_mb']:5.0f} MB "
                    f"(load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )
    medians = {
        side: {name: statistics.median(one[name] for one in several) for name in _MEASURED}
        for side, several in measured.items()
    }
    result = {
        "share_of_ideal": round(medians["ours"]["share_of_ideal"], 4),
        "rows_per_second": round(medians["ours"]["rows_per_second"], 1),
        "peak_rss_mb": round(medians["ours"]["peak_mb"], 1),
        "thread_pool_share_of_ideal": round(medians["thread pool"]["share_of_ideal"], 4),
        "thread_pool_peak_rss_mb": round(medians["thread pool"]["peak_mb"], 1),
        "runs": runs,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    typer.run(main)
