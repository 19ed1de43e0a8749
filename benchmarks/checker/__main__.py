"""Errors, speed and worst row of our answer checker, of math-verify, and of the paper's rule, side by side.

Each runs in a process of its own (ours with its one worker) pinned to the same core. The last line is JSON.
"""

import json
import selectors
import statistics
import subprocess
import sys
import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.checker.cases import Case, labelled, nasty, real_responses
from benchmarks.checker.sides import SIDES

_GIVE_UP_SECONDS = 20.0
"""When a row is taken to hang: four times math-verify's own limit."""


class _Side:
    """A checker in a process that is replaced when it hangs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[str] | None = None

    def check(self, cases: list[Case], *, give_up_seconds: float = 600.0) -> tuple[list[str], float]:
        """Verdicts and wall time; what hangs or dies is `killed`, and took as long as it was waited for."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([(case.response, case.gold) for case in cases]) + "\n")
        process.stdin.flush()
        start = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(give_up_seconds) else ""
        if not line:
            self.close()
            return ["killed"] * len(cases), time.perf_counter() - start
        answer = json.loads(line)
        return answer["verdicts"], answer["seconds"]

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.checker.sides", self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.check([Case(r"$\boxed{x+x}$", "$2x$", right=True)])  # loads SymPy
        return self._process

    def close(self) -> None:
        """Kills the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def count_errors(side: _Side, sets: dict[str, list[Case]]) -> dict[str, Counter[str]]:
    """By set: right rows not found right (`undecided` where the checker says that it cannot tell), and wrong ones that were."""
    counts = {}
    for name, cases in sets.items():
        counts[name] = Counter()
        verdicts, _ = side.check(cases)
        for case, verdict in zip(cases, verdicts, strict=True):
            if case.right and verdict != "correct":
                counts[name]["false wrong" if verdict == "incorrect" else "undecided"] += 1
            elif not case.right and verdict == "correct":
                counts[name]["false right"] += 1
    return counts


def speeds(sides: list[_Side], repeats: int) -> dict[str, list[float]]:
    """Rows per second on the real responses, in turn; the first, which warms caches, does not count."""
    cases = real_responses()
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for repeat in range(repeats + 1):
        for side in sides:
            _, taken = side.check(cases)
            if repeat:
                seconds[side.name].append(taken)
    return {name: [len(cases) / taken for taken in times] for name, times in seconds.items()}


def worst_rows(side: _Side, sets: dict[str, list[Case]]) -> dict[str, tuple[float, str]]:
    """Wall time and verdict of every nasty row, and of the slowest of the labelled ones, one at a time."""
    rows = {}
    for name, case in nasty().items():
        side.check([Case(r"$\boxed{x+x}$", "$2x$", right=True)])  # a worker replaced after a kill is up again
        verdicts, seconds = side.check([case], give_up_seconds=_GIVE_UP_SECONDS)
        rows[name] = (seconds, verdicts[0])
    slowest = (0.0, "")
    for case in (case for cases in sets.values() for case in cases):
        verdicts, seconds = side.check([case])
        slowest = max(slowest, (seconds, f"{verdicts[0]} (gold {case.gold[:20]})"))
    return {**rows, "the slowest labelled row": slowest}


def _errors_table(sets: dict[str, list[Case]], errors: dict[str, dict[str, Counter[str]]]) -> Table:
    table = Table(title="errors: false wrong + undecided + false right")
    for column in ("set", "rows", *errors):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, cases in sets.items():
        table.add_row(name, str(len(cases)), *(_kinds(counts[name]) for counts in errors.values()))
    whole = [sum(counts.values(), Counter()) for counts in errors.values()]
    table.add_row("all", str(sum(map(len, sets.values()))), *map(_kinds, whole), style="bold")
    return table


def _kinds(counts: Counter[str]) -> str:
    kinds = (counts["false wrong"], counts["undecided"], counts["false right"])
    return f"{sum(kinds)} = {' + '.join(map(str, kinds))}" if any(kinds) else "0"


def _worst_table(worst: dict[str, dict[str, tuple[float, str]]]) -> Table:
    table = Table(title=f"seconds of nasty rows; killed after {_GIVE_UP_SECONDS:g} s")
    for column in ("row", *worst):
        table.add_column(column, justify="left" if column == "row" else "right")
    for name in next(iter(worst.values())):
        table.add_row(name, *(f"{rows[name][0]:.2f} {rows[name][1]}" for rows in worst.values()))
    return table


def main(
    *, repeats: Annotated[int, typer.Option(help="Measurements of the speed; the median counts.")] = 3
) -> None:
    """Compares the checkers."""
    sets = labelled()
    console = Console(width=150)
    sides = {name: _Side(name) for name in SIDES}
    try:
        errors = {name: count_errors(side, sets) for name, side in sides.items()}
        console.print(_errors_table(sets, errors))
        rates = speeds(list(sides.values()), repeats)
        for name, values in rates.items():
            console.print(f"{name:>12}: {statistics.median(values):10,.0f} rows/s of {_shown(values)}")
        worst = {name: worst_rows(sides[name], sets) for name in ("ours", "math_verify")}
        console.print(_worst_table(worst))
    finally:
        for side in sides.values():
            side.close()
    rate = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    kinds = {name: sum(counts.values(), Counter()) for name, counts in errors.items()}
    result: dict[str, Any] = {
        "errors": {name: sum(counts.values()) for name, counts in kinds.items()},
        "error_kinds": {name: dict(counts) for name, counts in kinds.items()},
        "rows": sum(map(len, sets.values())),
        "rows_per_second": rate,
        "speedup_vs_math_verify": round(rate["ours"] / rate["math_verify"], 2),
        "worst_seconds": {
            name: round(max(seconds for seconds, _ in rows.values()), 3) for name, rows in worst.items()
        },
    }
    print(json.dumps(result))


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)


if __name__ == "__main__":
    typer.run(main)
