"""Commands about runs that exist."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spot_cli.options import RunName, Store, console

if TYPE_CHECKING:
    from spot_core.report.status import RunStatus
    from spot_core.runs import Run

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]


@app.command(name="runs")
def list_command(
    store: Annotated[str, typer.Option(help="The artifact store.")] = "artifacts",
    limit: Annotated[int, typer.Option(help="How many runs, the newest first.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """List the runs of a store: state, stage, pairs, accuracy before → after, time and cost.

    The states are those that the store knows; beside them, where a Prefect server answers, the state of the flow run.
    """
    from itertools import islice  # noqa: PLC0415

    from spot_core.report.run_list import list_runs  # noqa: PLC0415
    from spot_core.report.terminal import make_runs_table  # noqa: PLC0415

    listed = list(islice(list_runs(store), limit))
    states = _prefect_states([run.run_name for run in listed])
    if as_json:
        lines = [asdict(run) | {"prefect": (states or {}).get(run.run_name)} for run in listed]
        typer.echo(json.dumps(lines, indent=1, ensure_ascii=False))
        return
    if not listed:
        console.print(f"no runs in {store} yet", markup=False)
        return
    console.print(make_runs_table([(run, (states or {}).get(run.run_name, "")) for run in listed]))
    if states is None:
        console.print("No Prefect server answers, so the states are those that the store knows.")


@app.command()
def status(run_name: RunName, store: Store = "artifacts", as_json: Json = False) -> None:
    """Show where a run is, how long still, what it cost and what came out: its page in the UI, in the terminal."""
    from spot_core.report.terminal import make_results_table, make_status_table  # noqa: PLC0415
    from spot_core.runs import Run  # noqa: PLC0415

    run = Run.open(store, run_name)
    known, now = _status(run)
    if as_json:
        typer.echo(json.dumps(asdict(now) | {"prefect": known}, indent=1, ensure_ascii=False))
        return
    console.print(make_status_table(now))
    if now.message:
        console.print(now.message, markup=False, highlight=False, soft_wrap=True)
    if now.results is not None:
        console.print(make_results_table(now.results))
    lines = [f"run: {now.folder}", *(f"log: {path}" for path in now.logs), f"curves: {now.tensorboard}"]
    if not known:
        lines.append("No Prefect server knows of this run: this is what its last attempt left in the store.")
    elif now.link:
        from deployments.local import ui_url  # noqa: PLC0415

        lines.append(f"flow run: {ui_url()}{now.link}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _status(run: "Run") -> tuple[bool, "RunStatus"]:
    """Whether a Prefect server knows the run, and its status."""
    from deployments.local import server_answers  # noqa: PLC0415
    from spot_core.report.status import read_earlier_seconds, read_status  # noqa: PLC0415

    if server_answers():
        from prefect.client.orchestration import get_client  # noqa: PLC0415

        from flows.observe import flow_runs_named, status_now  # noqa: PLC0415

        with get_client(sync_client=True) as client:
            if flow_run := next(flow_runs_named(client, run.name), None):
                return True, status_now(client, flow_run, run, earlier=read_earlier_seconds(run))
    return False, read_status(run)


def _prefect_states(names: list[str]) -> dict[str, str] | None:
    """Prefect's states of runs, as far as it knows them; None if no server answers."""
    from deployments.local import server_answers  # noqa: PLC0415

    if not server_answers():
        return None
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from flows.observe import states_of  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        return states_of(client, names)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="Name of a run.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Name of another.", metavar="B")],
    store: Annotated[str, typer.Option(help="The artifact store that both are in.")] = "artifacts",
    as_json: Json = False,
) -> None:
    """Compare two runs: settings that differ, artifacts they share, and their figures side by side.

    The change of an accuracy is paired, question by question, with its 95 % interval. In the Prefect UI: the
    deployment compare/runs.
    """
    from spot_core.report.comparison import compare_runs  # noqa: PLC0415
    from spot_core.report.terminal import make_comparison_tables  # noqa: PLC0415
    from spot_core.runs import Run  # noqa: PLC0415

    compared = compare_runs(Run.open(store, a), Run.open(store, b))
    if as_json:
        typer.echo(json.dumps(compared.as_dict(), indent=1, ensure_ascii=False))
        return
    for table in make_comparison_tables(compared):
        console.print(table)
    for note in compared.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


@app.command()
def cancel(
    run_name: RunName,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for its end.", min=0)] = 120,
) -> None:
    """Cancel what runs for a run, its stages too, and wait until it has ended. What was done is kept."""
    from deployments.local import api_url, server_answers  # noqa: PLC0415
    from spot_core.errors import EngineError  # noqa: PLC0415

    if not server_answers():
        raise EngineError(f"no Prefect server answers at {api_url()}, so nothing can be cancelled through it")
    from spot_cli.cancel import cancel_run  # noqa: PLC0415

    ended = cancel_run(
        run_name, wait_seconds=wait_seconds, told=lambda text: console.print(text, markup=False)
    )
    if not ended:
        console.print(f"nothing runs for {run_name!r}", markup=False)
        raise typer.Exit(1)
    console.print(
        f"{run_name} is cancelled; to go on with it: prefect flow-run retry with the id above, or Retry in the UI",
        markup=False,
    )


@app.command()
def export(
    run_name: RunName,
    store: Store = "artifacts",
    to: Annotated[
        Path | None, typer.Option(help="Folder; unset: `export/FORMAT` in the run's folder.")
    ] = None,
    form: Annotated[
        Literal["trl", "jsonl"],
        typer.Option("--format", help="trl: Parquet. jsonl: JSON Lines. The rows are the same."),
    ] = "trl",
    token_ids: Annotated[
        bool, typer.Option("--token-ids", help="Add the policy's own token ids as columns.")
    ] = False,
) -> None:
    """Write a run's accepted pairs as a preference data set that TRL and `datasets.load_dataset` read."""
    from spot_core.export import export_pairs  # noqa: PLC0415
    from spot_core.runs import Run  # noqa: PLC0415

    done = export_pairs(Run.open(store, run_name), to, form=form, token_ids=token_ids)
    console.print(f"{done.pairs:,} pairs in {done.folder}", markup=False, highlight=False, soft_wrap=True)
