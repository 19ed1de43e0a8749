"""A run of the demo under random faults, and the same run in peace: are the results the same?

    python -m tests.chaos --faults 40

Starts PostgreSQL, Prefect's server on it, a worker, and an Oracle's endpoint behind a proxy, each started again when
it dies; kills, cuts and fills while `spot/full` runs, and retries the run when it failed, as a user would. Mounting a
small file system for the store needs root; without, the faults of the store are left out. The last line is JSON.
"""

import dataclasses
import json
import logging
import shutil
import signal
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from spot_core.errors import EngineError
from spot_core.runs import Run
from tests.chaos.calm import run_in_peace
from tests.chaos.campaign import SHARES, SMALL_SHARES, Campaign, Injected
from tests.chaos.caretaker import Caretaker
from tests.chaos.small import small_settings
from tests.chaos.topology import Topology, make_home
from tests.chaos.verdict import Verdict, compare, count_answered_calls
from tests.chaos.watch import ORPHAN_SECONDS, Watch

log = logging.getLogger("tests.chaos")

_STUCK_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_ORACLE_SECONDS = 1.0


def main(
    *,
    faults: Annotated[int, typer.Option(help="How many faults hit the run.", min=0)] = 40,
    seed: Annotated[int, typer.Option(help="Of kinds, targets and pauses.")] = 0,
    pause: Annotated[float, typer.Option(help="Mean seconds before a fault.", min=0)] = 8.0,
    automatic: Annotated[
        int, typer.Option(help="Runs without process left to the automation to notice.")
    ] = 1,
    small: Annotated[bool, typer.Option(help="A run without vLLM, of two minutes.")] = False,
    settings: Annotated[str, typer.Option(help="Settings that differ from the demo's, as JSON.")] = "{}",
    minutes: Annotated[float, typer.Option(help="Longest time for the disturbed run.")] = 45.0,
    keep: Annotated[bool, typer.Option(help="Keep the folder with logs and stores.")] = False,
) -> None:
    """Prints a table of faults and outcomes; the exit status is 1 if the results are not what they must be."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM")
    )  # not without taking everything down
    home = make_home()
    log.info("everything is in %s", home)
    with Topology(home, oracle_seconds=_ORACLE_SECONDS) as topology, ThreadPoolExecutor(1) as beside:
        if not topology.ground.mounted:
            log.warning(
                "no file system could be mounted here: the store is neither full nor read-only in this run"
            )
        overrides = (small_settings(home) if small else {}) | json.loads(settings)
        peace = beside.submit(run_in_peace, topology, overrides, "calm")
        watch = Watch(topology)
        shares = SMALL_SHARES if small else SHARES
        campaign = Campaign(topology, watch, count=faults, seed=seed, pause_seconds=pause, shares=shares)
        parameters = overrides | {"store": str(topology.store), "rectify": {"oracle": topology.oracle}}
        disturbed = Caretaker(
            topology,
            {"profile": "demo", "run_name": "disturbed", "config": parameters},
            automatic=automatic,
        )
        began = time.monotonic()
        try:
            _follow(disturbed, watch, campaign, limit_seconds=60 * minutes)
        finally:
            print(_table(campaign.injected), flush=True)
        seconds = time.monotonic() - began
        _settle(watch)
        calls, again = count_answered_calls(topology.calls)
        verdict = compare(Run.open(topology.store, "disturbed"), peace.result())
        restarts = topology.supervisor.restarts()
        if keep:
            shutil.copytree(topology.store, home / "disturbed")
    orphans = sorted(watch.orphans | {str(p) for p in topology.family.alive()})
    report = {
        "faults": len(campaign.injected),
        "rows_lost": verdict.rows_lost,
        "rows_doubled": verdict.rows_doubled,
        "orphans": len(orphans),
        "identical_artifacts": sum(verdict.identical.values()),
        "artifacts": len(verdict.identical),
        "different": [name for name, same in verdict.identical.items() if not same],
        "pairs": verdict.pairs,
        "same_pairs": verdict.same_pairs,
        "retries": disturbed.retries,
        "crashed_by_automation": disturbed.crashed_by_automation,
        "marked_crashed": disturbed.marked,
        "service_restarts": restarts,
        "calls": calls,
        "calls_paid_twice": again,
        "seconds": round(seconds),
        "kinds": _by_kind(campaign.injected),
    }
    for orphan in orphans:
        print(f"orphan: {orphan}")
    if not keep:
        shutil.rmtree(home)
    print(json.dumps(report))
    raise typer.Exit(0 if _sound(report, verdict, wanted=faults) else 1)


def _follow(run: Caretaker, watch: Watch, campaign: Campaign | None, *, limit_seconds: float) -> None:
    """Sees a run through to its end, faults and all.

    Raises:
        EngineError: it does not get on any more, or takes too long; with what was seen last.
    """
    began = time.monotonic()
    run.start()
    if campaign is not None:
        campaign.start()
    try:
        while not run.look():
            watch.look()
            if campaign is not None:
                campaign.note_recovery()
                if campaign.failure is not None:
                    raise EngineError(
                        f"a fault could not be injected: {campaign.failure}"
                    ) from campaign.failure
            now = time.monotonic()
            if (
                now - watch.got_on > _STUCK_SECONDS and now - began > _STUCK_SECONDS
            ) or now - began > limit_seconds:
                raise EngineError(
                    f"the run is {run.state}, has done nothing for {now - watch.got_on:.0f} s and has taken "
                    f"{now - began:.0f} s. It said before: {run.said[-3:]}"
                )
            time.sleep(_LOOK_SECONDS)
        watch.look()
        if campaign is not None:
            campaign.note_recovery()
    finally:
        if campaign is not None:
            campaign.end()


def _settle(watch: Watch) -> None:
    """Waits as long as a process may live after its flow."""
    until = time.monotonic() + ORPHAN_SECONDS + 2
    while time.monotonic() < until:
        watch.look()
        time.sleep(1)


def _by_kind(injected: list[Injected]) -> dict[str, dict[str, Any]]:
    kinds: dict[str, list[Injected]] = defaultdict(list)
    for fault in injected:
        kinds[fault.kind].append(fault)
    return {
        kind: {
            "injected": len(hits),
            "recovered": sum(hit.recovered is not None for hit in hits),
            "seconds": max((hit.recovered for hit in hits if hit.recovered is not None), default=None),
        }
        for kind, hits in sorted(kinds.items())
    }


def _table(injected: list[Injected]) -> str:
    lines = ["| # | at (s) | stage | fault | work went on after (s) |", "|---|---|---|---|---|"]
    for number, fault in enumerate(injected, start=1):
        one = dataclasses.asdict(fault)
        lines.append("| {} | {at} | {stage} | {kind} | {recovered} |".format(number, **one))
    return "\n".join(lines)


def _sound(report: dict[str, Any], verdict: Verdict, *, wanted: int) -> bool:
    nothing_wrong = not (report["rows_lost"] or report["rows_doubled"] or report["orphans"])
    return nothing_wrong and verdict.same_pairs and not report["different"] and report["faults"] >= wanted


if __name__ == "__main__":
    typer.run(main)
