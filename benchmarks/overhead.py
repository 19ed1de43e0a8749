r"""What orchestration costs: the time of `spot/full` beside the work of its stages:  python -m benchmarks.overhead

Services, store and port of its own. Each run is a whole demo through its deployment and then the same again, all of it
reused. `own work` is the sum of what the artifacts say that it took to make them, and the time of the task that reads and
checks all inputs, which loads the tokenizer. All else is overhead: a new process and its imports, the stages' beginnings
and ends, the record, the page. It is given for the flow run as Prefect times it, and from submission on, with the wait for
the worker and the start of the process. The last line is JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx2
import typer

from spot_core.processes.supervised import free_port

_ROOT = Path(__file__).resolve().parents[1]
_SPOT = Path(sys.executable).with_name("spot")


class Services:
    """A server and a worker of this benchmark's own, and the command `spot` that uses them."""

    def __init__(self, home: Path) -> None:
        self._api = f"http://127.0.0.1:{free_port()}/api"
        self._env = os.environ | {"PREFECT_API_URL": self._api, "SPOT_STATE": str(home / "state")}

    def __enter__(self) -> "Services":
        self.spot("up")
        return self

    def __exit__(self, *_: object) -> None:
        self.spot("down")

    def spot(self, *arguments: str) -> None:
        """Runs the command to its end."""
        subprocess.run([_SPOT, *arguments], cwd=_ROOT, env=self._env, check=True, stdout=sys.stderr)

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """What Prefect's server answers."""
        came = httpx2.post(f"{self._api}/{path}", json=body, trust_env=False, timeout=30)
        came.raise_for_status()
        return came.json()

    def newest(self, flow: str, parent: str | None = None) -> dict[str, Any]:
        """The newest flow run of a flow."""
        body: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 1}
        if parent is not None:
            body["flow_runs"] = {"parent_flow_run_id": {"any_": [parent]}}
        return self.ask("flow_runs/filter", body)[0]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _timeline(services: Services, summary: dict[str, Any] | None) -> dict[str, float]:
    """Seconds from submission to the end of the newest run, and where those of them went that no stage worked in."""
    run = services.newest("spot")
    tasks = services.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    [prepare] = [task["total_run_time"] for task in tasks if task["name"].startswith("read questions")]
    submitted, began, ended = (_moment(run[key]) for key in ("created", "start_time", "end_time"))
    times = {
        "from submission": ended - submitted,
        "before it begins": began - submitted,
        "flow": ended - began,
    }
    if summary is None:
        return times
    work, at = summary["seconds"], began
    for stage in ("rollout", "filter", "rectify", "train", "evaluate"):
        child = services.newest(stage, run["id"])
        start, end = _moment(child["start_time"]), _moment(child["end_time"])
        times[f"before {stage}"] = start - at - (prepare if stage == "rollout" else 0)
        times[f"in {stage}"] = end - start - work[stage]
        at = end
    return times | {"after evaluate": ended - at, "own work": sum(work.values()) - work["prepare"] + prepare}


def _show(name: str, times: dict[str, float]) -> None:
    typer.echo(f"{name}: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in times.items()))


def main(
    runs: Annotated[int, typer.Option(min=1, help="Demos from nothing, each with a seed of its own.")] = 1,
    settings: Annotated[str, typer.Option(help="Settings that differ from the demo's, as JSON.")] = "{}",
) -> None:
    """Prints where the time of each run went that was no stage's work."""
    cold, reused = [], []
    with tempfile.TemporaryDirectory(prefix="spot-overhead-") as home, Services(Path(home)) as services:
        for number in range(runs):
            changed = {"store": f"{home}/store", "rollout.seed": 7 + number} | json.loads(settings)
            options = [part for k, v in changed.items() for part in ("--set", f"{k}={json.dumps(v)}")]
            services.spot("run", "--run-name", f"cold-{number}", *options)
            summary = json.loads(Path(home, "store", "runs", f"cold-{number}", "summary.json").read_text())
            cold.append(_timeline(services, summary))
            _show(f"cold {number}", cold[-1])
            services.spot("run", "--run-name", f"reused-{number}", *options)
            reused.append(_timeline(services, None))
            _show(f"reused {number}", reused[-1])
    figures = {
        "runs": runs,
        "own_work": median(times["own work"] for times in cold),
        "overhead": [times["flow"] - times["own work"] for times in cold],
        "overhead_from_submission": [times["from submission"] - times["own work"] for times in cold],
        "reused": [times["flow"] for times in reused],
        "reused_from_submission": [times["from submission"] for times in reused],
    }
    typer.echo(json.dumps({k: v if k == "runs" else _rounded(v) for k, v in figures.items()}))


def _rounded(value: Any) -> Any:
    return [round(v, 1) for v in value] if isinstance(value, list) else round(value, 1)


if __name__ == "__main__":
    typer.run(main)
