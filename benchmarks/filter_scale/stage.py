"""One run of the filter stage in a process of its own. Arguments: STORE ROWS GENERATION WORKERS. Prints JSON."""

import json
import sys
import time

from benchmarks.filter_scale.responses import make_rollout
from spot_core.config.checker import CheckerConfig
from spot_core.pipeline import filter as filtering
from spot_core.store import Artifact, ArtifactStore


def main(location: str, rows: str, generation: str, workers: str) -> None:
    store = ArtifactStore(location)
    rollout = make_rollout(store, int(rows))
    checker = CheckerConfig(workers=int(workers))
    first: list[int] = []

    def on_progress(done: int, total: int, *, note: str = "") -> None:
        if not first:
            first.append(done)
        print(done, file=sys.stderr, flush=True)

    start = time.perf_counter()
    with store.write(filtering.recipe(checker, rollout=rollout), at_least=int(generation)) as slot:
        assert not isinstance(slot, Artifact), "a benchmark starts without the artifact it is to make"
        journaled = sum(len(record["verdict"]) for record in slot.journal("verdicts"))
        filtering.make(slot, checker, rollout=rollout, on_progress=on_progress)
    seconds = time.perf_counter() - start
    made = store.get(filtering.recipe(checker, rollout=rollout), at_least=int(generation))
    report = {
        "seconds": seconds,
        "journaled_before": journaled,
        "parts": [part.sha256 for part in made.manifest.parts],
        "statistics": made.statistics,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
