"""Coverage-guided fuzzing of the answer checker with atheris: no input may raise, or take long without a time limit.

    python -m benchmarks.fuzz_checker --minutes 15

Inputs are sequences of pieces of formulas and of arbitrary characters, for the response and the gold answer. Every input goes
through the rules that run without a time limit (in the parent process of a checker pool); one in `POOL_EVERY` also through a pool,
whose verdict has to come within its limit. libFuzzer stops with the input at the first crash, or at the first one that takes
longer than `SLOWEST_SECONDS`. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fuzz_checker.pieces import PIECES

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: .venv/bin/uv pip install --python .venv/bin/python atheris")

with atheris.instrument_imports(include=["spot_core.checker"]):
    from spot_core.checker import VERDICTS, CheckerPool, CheckItem
    from spot_core.checker.rules import SlowCase, decide

KINDS = ("math", "numeric", "multiple_choice", "exact", "pattern")
POOL_EVERY = 500
TIMEOUT_SECONDS = 2.0
ALLOWED_SECONDS = 0.5
"""On top of the time limit: a busy machine notices it late."""
SLOWEST_SECONDS = 2


def text(data: "atheris.FuzzedDataProvider") -> str:
    """A text of pieces, with arbitrary characters now and then."""
    parts = []
    for _ in range(data.ConsumeIntInRange(0, 40)):
        choice = data.ConsumeIntInRange(0, len(PIECES) + 6)
        if choice < len(PIECES):
            parts.append(PIECES[choice])
        else:
            parts.append((" ", "\n", "\0", "\ud800", "}", "}", data.ConsumeUnicode(4))[choice - len(PIECES)])
    return "".join(parts)


FIGURES = "figures.json"


class Target:
    """Checks one input; counts what came out."""

    def __init__(self, pool: CheckerPool) -> None:
        self._pool = pool
        self.inputs = 0
        self.outcomes = Counter[str]()
        self.worst_seconds = 0.0
        self.worst_pool_seconds = 0.0

    def __call__(self, raw: bytes) -> None:
        data = atheris.FuzzedDataProvider(raw)
        kind = KINDS[data.ConsumeIntInRange(0, len(KINDS) - 1)]
        item = CheckItem(text(data), text(data), kind, tolerance=0.01)
        self.inputs += 1
        started = time.perf_counter()
        outcome = decide(item)
        self.worst_seconds = max(self.worst_seconds, time.perf_counter() - started)
        self.outcomes["engine" if isinstance(outcome, SlowCase) else outcome.verdict] += 1
        if isinstance(outcome, SlowCase) and self.inputs % POOL_EVERY < 5:
            verdict = self._pool.check_item(item)
            assert verdict.verdict in VERDICTS, verdict
            assert verdict.seconds <= TIMEOUT_SECONDS + ALLOWED_SECONDS, (item, verdict)
            self.outcomes[f"pool:{verdict.verdict}"] += 1
            self.worst_pool_seconds = max(self.worst_pool_seconds, verdict.seconds)

    def figures(self) -> dict[str, Any]:
        """What was seen so far."""
        return {
            "inputs": self.inputs,
            "outcomes": dict(self.outcomes.most_common()),
            "worst_seconds": round(self.worst_seconds, 3),
            "worst_pool_seconds": round(self.worst_pool_seconds, 3),
        }


def fuzz(seconds: int, folder: Path) -> None:
    """Runs in a process of its own, which libFuzzer ends: the figures so far are in a file at any time."""
    pool = CheckerPool(workers=1, timeout_seconds=TIMEOUT_SECONDS)
    target = Target(pool)
    reported = 0.0

    def one_input(raw: bytes) -> None:
        nonlocal reported
        target(raw)
        if time.monotonic() - reported > 1:
            reported = time.monotonic()
            (folder / FIGURES).write_text(json.dumps(target.figures()))

    (folder / "corpus").mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={4 * SLOWEST_SECONDS}",
        "-rss_limit_mb=4096",
        "-max_len=512",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one_input)
    atheris.Fuzz()


def main() -> None:
    """Fuzzes for so many minutes; ends with 1 where an input crashed or hung."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--folder", type=Path, help="keeps interesting inputs from run to run")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds = round(arguments.minutes * 60)
    if arguments.child:
        fuzz(seconds, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        again = ["--child", "--minutes", str(arguments.minutes), "--folder", str(folder)]
        child = subprocess.run([sys.executable, "-m", "benchmarks.fuzz_checker", *again], check=False)
        figures = json.loads((folder / FIGURES).read_text())
    print(json.dumps({"minutes": arguments.minutes, "crashed": child.returncode != 0, **figures}))
    sys.exit(1 if child.returncode else 0)


if __name__ == "__main__":
    main()
