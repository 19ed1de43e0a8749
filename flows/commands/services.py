"""Commands that start and stop what a pipeline runs on."""

import logging
from typing import Annotated

import typer

from flows.commands.options import console

app = typer.Typer()


@app.command(name="up")
def up_command(
    pools: Annotated[
        bool | None,
        typer.Option(
            "--pools/--one-pool",
            help="Three work pools (gpu, cpu, api) with a worker each, as on a cluster; or one for all, as at first. "
            "Without either: as before.",
        ),
    ] = None,
) -> None:
    """Start Prefect's server and workers on this machine, and deploy the flows."""
    from deployments.local import ui_url, up  # noqa: PLC0415

    up(console, pools=pools)
    console.print(f"Prefect UI: {ui_url()}\nTry: prefect deployment run spot/full")


@app.command(name="down")
def down_command() -> None:
    """Stop the server and the worker that `up` or `run` started, and nothing else."""
    from deployments.local import down  # noqa: PLC0415

    down(console)


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
