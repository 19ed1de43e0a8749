"""A process that makes an artifact and can be killed or stopped at it: `python -m …writing '{"location": …}'`.

Takes: ``location``, ``rows``, ``files`` (of how many files it also consists), ``lease`` (seconds), and ``go`` (a file that
has to exist before it completes). Prints the digest it ends up with, or the error.
"""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from spot_core.errors import SpotError
from spot_core.store import Artifact, ArtifactStore, Recipe

RECIPE = Recipe("questions", {"kind": "test"}, {"source": "0" * 64}, 1)


def row(number):
    return {
        "question_id": f"{number:016d}",
        "question": f"What is {number}?",
        "answer": str(number),
        "source": "test",
        "source_id": None,
        "checker": None,
        "metadata": None,
    }


def write(store, *, rows, files, go=None):
    """Returns the artifact's digest, and the rows that were in its journal before."""
    with store.write(RECIPE) as slot:
        if isinstance(slot, Artifact):
            return slot.digest, []
        journal = slot.journal()
        found = [record["n"] for record in journal]
        for number in range(len(found), rows):
            journal.append({"n": number})
        extra = [slot.folder / "extra" / f"{number}.bin" for number in range(files)]
        for number, path in enumerate(extra):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes([number]) * 100_000)
        while go and not Path(go).exists():
            time.sleep(0.02)
        manifest = slot.complete([row(n) for n in range(rows)], statistics={"rows": rows}, files=extra)
    return manifest.digest, found


def start(scratch, **arguments):
    """The process; its scratch folder is that of a machine of its own, if no other process has the same."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.spot_core.store.writing", json.dumps(arguments)],
        env=os.environ | {"SPOT_SCRATCH": str(scratch)},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main():
    logging.basicConfig(level=logging.INFO)
    given = json.loads(sys.argv[1])
    store = ArtifactStore(given["location"], lease_seconds=given["lease"])
    try:
        digest, found = write(store, rows=given["rows"], files=given["files"], go=given.get("go"))
    except SpotError as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps({"digest": digest, "found": found}))


if __name__ == "__main__":
    main()
