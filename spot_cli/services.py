"""Commands that start and stop what a pipeline runs on."""

import logging
import os
from typing import Annotated

import typer

from spot_cli.options import console

app = typer.Typer()

NOTIFY_URL = "SPOT_NOTIFY_URL"
"""Environment variable with the address of a webhook."""


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
    notify: Annotated[
        str | None,
        typer.Option(
            help="Address of a webhook that is sent every run that fails (kept in a Prefect block; better given by the "
            "environment variable, which no list of processes shows).",
            envvar=NOTIFY_URL,
            metavar="URL",
        ),
    ] = None,
    notify_block: Annotated[
        str | None,
        typer.Option(
            help="The same through a block that exists: slack-webhook/my-channel.", metavar="TYPE/NAME"
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="Run spot/full at these times: '0 2 * * *' is every night at 2.", metavar="CRON"),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --schedule, e.g. Europe/Berlin.")] = "UTC",
) -> None:
    """Start Prefect's server and workers on this machine, and deploy the flows.

    Notification and schedule are made on request, once: doing it again changes nothing, and `spot down` leaves them.
    """
    from deployments.automations import apply_failure_notice  # noqa: PLC0415
    from deployments.local import ui_url, up  # noqa: PLC0415
    from deployments.notices import require_address, to_address, to_block  # noqa: PLC0415
    from deployments.schedules import DEPLOYMENT, apply_schedule, cron_schedule  # noqa: PLC0415

    # What is wrong is told before anything starts.
    if notify_block and notify:
        raise typer.BadParameter(f"give --notify (or {NOTIFY_URL}) or --notify-block, not both")
    if notify:
        require_address(notify)
    times = None if schedule is None else cron_schedule(schedule, timezone)
    os.environ.pop(NOTIFY_URL, None)  # what is started here does not inherit it
    up(console, pools=pools)
    if notify or notify_block:
        apply_failure_notice(to_block(notify_block) if notify_block else to_address(notify or ""))
        console.print("a run that fails is told of (Prefect UI: Automations)")
    if times is not None:
        apply_schedule(times)
        console.print(
            f"{DEPLOYMENT} runs at {schedule!r}, {timezone} (Prefect UI: Deployments)", markup=False
        )
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
