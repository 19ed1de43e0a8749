"""The command `spot`: start services, run a profile and watch it, plan without running."""

import json
import logging
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from spot_core.config.profiles import profile_names
from spot_core.errors import SpotError

app = typer.Typer(
    help="Surgical Post-Training: lift a model's reasoning by training on minimal corrections of its mistakes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()

Profile = Annotated[
    str, typer.Option(help=f"One of {', '.join(profile_names())}, or a YAML file of your own.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting to change, e.g. train.objective=dpo. May be given several times."),
]
Refresh = Annotated[
    list[str] | None,
    typer.Option(help="A stage to make anew although its artifact exists. May be given several times."),
]


def overrides(settings: list[str]) -> dict:
    """Turns ``a.b=value`` into nested settings; values are read as YAML."""
    result: dict = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path:
            raise typer.BadParameter(
                f"--set {setting!r}: write section.field=value, e.g. train.objective=dpo"
            )
        *sections, field = path.split(".")
        room = result
        for section in sections:
            room = room.setdefault(section, {})
        room[field] = yaml.safe_load(value)
    return result


@app.command()
def run(
    profile: Profile = "demo",
    settings: Settings = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the run; unset: one is made up.")] = None,
    refresh: Refresh = None,
) -> None:
    """Run the whole pipeline through its deployment and watch it. Starts server and worker if none is up.

    The exit status is 0 if the run is complete, 1 if it failed, 2 if a setting is wrong, and 3 if it waits for a person:
    for edits (a human Oracle) or to confirm a cost. `spot resume` goes on with it.
    """
    from deployments.local import up  # noqa: PLC0415
    from flows.watch import run_and_watch  # noqa: PLC0415
    from spot_core.config.spot import SpotConfig, valid_run_name  # noqa: PLC0415
    from spot_core.training.meeting import join_command  # noqa: PLC0415

    # What is wrong is told before anything starts.
    train = SpotConfig.from_profile(profile, **overrides(settings or [])).train
    if run_name is not None:
        valid_run_name(run_name)
    if train.nodes > 1 and train.rendezvous is not None:
        console.print(
            f"training takes {train.nodes} nodes; on each other run: {join_command(train.rendezvous)}"
        )
    up(console)
    parameters = {
        "profile": profile,
        "config": overrides(settings or []) or None,
        "run_name": run_name,
        "refresh": refresh or None,
    }
    raise typer.Exit(run_and_watch({k: v for k, v in parameters.items() if v is not None}, console))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="Name of the run, or id or name of the flow run, that waits.")],
) -> None:
    """Go on with a run that waits for a person: take the edits, or agree to the cost; and watch it, as `spot run` does."""
    from deployments.local import up  # noqa: PLC0415
    from flows.watch import resume_and_watch  # noqa: PLC0415

    up(console)
    raise typer.Exit(resume_and_watch(run, console))


@app.command()
def plan(profile: Profile = "demo", settings: Settings = None, refresh: Refresh = None) -> None:
    """Dry run: the stages, what is reused, how much work and memory it takes, and the first prompt."""
    from spot_core.config.spot import SpotConfig  # noqa: PLC0415
    from spot_core.pipeline.plan import make_plan  # noqa: PLC0415

    config = SpotConfig.from_profile(profile, **overrides(settings or []))
    console.print(
        make_plan(config, refresh=tuple(refresh or ())).text(), markup=False, highlight=False, soft_wrap=True
    )


@app.command()
def show(profile: Profile = "demo", settings: Settings = None) -> None:
    """Print a profile's whole configuration as YAML, with every default filled in."""
    from spot_core.config.spot import SpotConfig  # noqa: PLC0415

    config = SpotConfig.from_profile(profile, **overrides(settings or []))
    console.print(
        yaml.safe_dump(json.loads(config.model_dump_json()), sort_keys=False), markup=False, highlight=False
    )


@app.command()
def export(
    run_name: Annotated[str, typer.Argument(help="Name of the run.", metavar="RUN")],
    store: Annotated[str, typer.Option(help="The artifact store that the run is in.")] = "artifacts",
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


@app.command()
def join(
    address: Annotated[
        str, typer.Argument(help="host:port of the node that runs the stage: train.rendezvous.")
    ],
    wait_minutes: Annotated[float, typer.Option(help="How long to wait for the stage to begin.", min=0)] = 60,
) -> None:
    """Train as one node of several (train.nodes): run this on every node but the one that runs the pipeline.

    It may be started first, takes part in the whole training stage, and ends with it: with status 0 if training
    was completed, else with the reason. After a failure start it again, as the stage. All nodes need this project,
    the store and the model at the same paths. Nodes trust each other: use a private network.
    """
    from spot_core.training.node import take_part  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    take_part(address, wait_seconds=60 * wait_minutes)


@app.command(name="up")
def up_command() -> None:
    """Start Prefect's server and a worker on this machine, and deploy the flows."""
    from deployments.local import ui_url, up  # noqa: PLC0415

    up(console)
    console.print(f"Prefect UI: {ui_url()}\nTry: prefect deployment run spot/full")


@app.command(name="down")
def down_command() -> None:
    """Stop the server and the worker that `up` or `run` started, and nothing else."""
    from deployments.local import down  # noqa: PLC0415

    down(console)


def main() -> None:
    """Entry point: what a user did wrong is told in a few lines, without a traceback."""
    try:
        app()
    except ValidationError as error:
        where = [
            (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()
        ]
        _complain(*(f"{field}: {said}" if field else said for field, said in where))
        raise SystemExit(2) from error
    except SpotError as error:
        _complain(str(error))
        raise SystemExit(2) from error


def _complain(*problems: str) -> None:
    for problem in problems:
        Console(stderr=True).print(
            f"error: {problem}", style="red", markup=False, highlight=False, soft_wrap=True
        )


if __name__ == "__main__":
    main()
