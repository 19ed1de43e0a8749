r"""Filter and rectify on one machine and shard by shard:  python -m benchmarks.sharding --rows 100000

The rollout is made of real responses (variations of them); the calculator rectifies the failures. Both ways run the
project's own flows against a Prefect server of their own; the second on a Ray cluster of two workers, of which one is
killed (kill -9) in the middle of each stage. The last line is JSON.
"""

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect.testing.utilities import prefect_test_harness

from benchmarks.sharding.cluster import ray_cluster, shard_processes
from benchmarks.sharding.rows import begin
from flows.filter import filter
from flows.rectify import rectify
from spot_core.artifacts import Artifact
from spot_core.pipeline.resolve import Resolver
from spot_core.pipeline.shards import Journals, Tail
from spot_core.runs import Run

STAGES = {"filter": (filter, "verdicts"), "rectify": (rectify, "rows")}
"""The flow of each stage, and the folder of the journals of its shards."""
_WATCH_SECONDS = 0.2


class Killer(threading.Thread):
    """kill -9 of a process that works on a shard, once half of the rows are done."""

    def __init__(self, journals: Path, rows: int) -> None:
        super().__init__(daemon=True)
        self._journals = Journals(journals)
        self._rows = rows
        self.killed_after: int | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        tail, done = Tail(self._journals), 0
        while not self.ended.wait(_WATCH_SECONDS):
            # A record of the filter stage has the verdicts of many rows.
            done += sum(len(record.get("verdict", [record])) for record in tail.news())
            if done >= self._rows // 2 and (working := shard_processes()):
                working[0].kill()
                self.killed_after = done
                return


def both_ways(store: Path, rows: int, **sharding: Any) -> dict[str, Any]:
    """Every stage on one machine, then shard by shard; what came of them."""
    alone = begin(store, "alone", rows)
    sharded = begin(store, "sharded", rows, sharding={"engine": "ray", "cpus": 1, **sharding})
    figures: dict[str, Any] = {"rows": rows}
    for stage, (flow, journals) in STAGES.items():
        first = _run(flow, alone, stage, refresh=False)
        work = first.folder.with_name(str(first.generation + 1)) / ".work"
        killer = Killer(work / journals, first.rows)
        killer.start()
        second = _run(flow, sharded, stage, refresh=True)
        killer.ended.set()
        killer.join()
        assert second.generation == first.generation + 1
        figures |= {
            f"{stage}_rows": first.rows,
            f"identical_{stage}": second.digest == first.digest,
            f"{stage}_seconds": {"alone": first.manifest.seconds, "sharded": second.manifest.seconds},
            f"{stage}_worker_killed_after_rows": killer.killed_after,
        }
        print(f"{stage}: {figures}", flush=True)
    return figures


def _run(flow: Any, run: Run, stage: str, *, refresh: bool) -> Artifact:
    flow(run.name, str(run.store.root), refresh)
    [node] = Resolver(Run.open(str(run.store.root), run.name)).stage(stage)  # type: ignore[arg-type]
    assert node.artifact is not None, f"{stage} is complete"
    return node.artifact


def main(
    *,
    rows: Annotated[int, typer.Option(help="Responses.")] = 100_000,
    rows_per_shard: Annotated[int, typer.Option(help="Rows of a shard at most.")] = 5_000,
    folder: Annotated[Path | None, typer.Option(help="Where artifacts go; default: /tmp, removed.")] = None,
) -> None:
    """Compares both ways."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="spot-sharding-", dir=folder) as store,
        prefect_test_harness(server_startup_timeout=120),
        ray_cluster() as address,
    ):
        figures = both_ways(Path(store), rows, address=address, at_once=2, rows_per_shard=rows_per_shard)
    print(json.dumps(figures | {"seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    typer.run(main)
