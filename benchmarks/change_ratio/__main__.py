"""Exact change ratio beside exact `difflib` (autojunk off): CPU seconds, and how far `difflib` is from the LCS.

    python -m benchmarks.change_ratio

Medians over several pairs of each length; at 32k tokens `difflib` gets one pair, and at most `--limit-seconds`. What
`edit_regions` costs, the alignment itself, is measured beside it. The last line is JSON: `speedup_at_8k` is that of the
edited responses, `least_speedup_at_8k` that of the worst case.
"""

import difflib
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as LimitReachedError
from typing import Annotated, Any

import pebble
import typer

from benchmarks.change_ratio.cases import Ids, Pair, make_cases
from spot_core.change_ratio import change_ratio, edit_regions

PAIRS = {1_000: 5, 8_000: 5, 32_000: 1}
"""Length of y⁻ in tokens → pairs that are measured."""
CALLS = 5
"""Timed calls of ours per pair, of which the median counts; `difflib` is timed once per pair."""


def matched_by_difflib(rejected: Ids, chosen: Ids, *, autojunk: bool) -> tuple[int, float]:
    """Tokens in difflib's matching blocks, and the CPU seconds they took."""
    started = time.process_time()
    matcher = difflib.SequenceMatcher(None, rejected, chosen, autojunk=autojunk)
    matched = sum(block.size for block in matcher.get_matching_blocks())
    return matched, time.process_time() - started


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Median CPU seconds of a call."""
    taken = []
    for _ in range(CALLS):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def measure(pair: Pair, limit_seconds: float) -> dict[str, float | None]:
    """Seconds, R and difflib's error of R for one pair; None where difflib reached the limit."""
    rejected, chosen = pair
    ratio = change_ratio(rejected, chosen)
    row: dict[str, float | None] = {
        "ratio": ratio,
        "seconds": cpu_seconds(lambda: change_ratio(rejected, chosen)),
        "regions_seconds": cpu_seconds(lambda: edit_regions(rejected, chosen)),
    }
    for name, autojunk in (("difflib", False), ("autojunk", True)):
        with pebble.ProcessPool(max_workers=1) as pool:
            future = pool.schedule(
                matched_by_difflib, args=pair, kwargs={"autojunk": autojunk}, timeout=limit_seconds
            )
            try:
                matched, seconds = future.result()
            except LimitReachedError:
                row[f"{name}_seconds"] = row[f"{name}_error"] = None
            else:
                row[f"{name}_seconds"] = seconds
                row[f"{name}_error"] = 1 - matched / len(chosen) - ratio
    return row


def median(values: list[float | None]) -> float | None:
    """The median in six places; None where a value is missing."""
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 6) if len(known) == len(values) else None


def figures(rows: list[dict[str, float | None]], limit_seconds: float) -> dict[str, Any]:
    """Medians of the pairs of one case and length. Where difflib reached the limit the speed-up is a lower bound."""
    found = {name: median([row[name] for row in rows]) for name in rows[0]}
    bounded = found["difflib_seconds"] is None
    slow = limit_seconds if bounded else found["difflib_seconds"]
    return {**found, "speedup": slow / found["seconds"], "speedup_is_lower_bound": bounded}


def line(case: str, length: int, found: dict[str, Any], limit_seconds: float) -> str:
    """One line of the printed table."""

    def seconds(name: str) -> str:
        return f"> {limit_seconds:g}" if found[name] is None else f"{found[name]:.3f}"

    def error(name: str) -> str:
        return "?" if found[name] is None else f"{found[name]:+.4f}"

    return (
        f"{case:10} {length:6} {found['ratio']:7.4f} {found['seconds'] * 1e3:9.2f} {found['regions_seconds'] * 1e3:9.2f}"
        f" {seconds('difflib_seconds'):>9} {found['speedup']:9.0f} {error('difflib_error'):>9}"
        f" {seconds('autojunk_seconds'):>9} {error('autojunk_error'):>9}"
    )


def main(
    limit_seconds: Annotated[
        float, typer.Option(min=1, help="Longest that difflib may take for a pair.")
    ] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the pairs.")] = 0,
) -> None:
    """Measures every case at every length."""
    print(
        "ours in milliseconds (R alone, and with the regions of the edit), difflib in seconds; errors are of R"
    )
    print(
        f"{'case':10} {'tokens':>6} {'R':>7} {'ours':>9} {'regions':>9} {'difflib':>9} {'speed-up':>9} {'error':>9}"
        f" {'autojunk':>9} {'error':>9}"
    )
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for case, pair_of in make_cases(seed).items():
        for length, pairs in PAIRS.items():
            rows = [measure(pair_of(length, number), limit_seconds) for number in range(pairs)]
            found = figures(rows, limit_seconds)
            results.setdefault(case, {})[length] = found
            print(line(case, length, found, limit_seconds), flush=True)
    at_8k = {case: round(found[8_000]["speedup"]) for case, found in results.items()}
    print(
        json.dumps(
            {
                "speedup_at_1k": round(results["responses"][1_000]["speedup"]),
                "speedup_at_8k": at_8k["responses"],
                "speedup_at_32k": round(results["responses"][32_000]["speedup"]),
                "least_speedup_at_8k": min(at_8k.values()),
                "cases": results,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
