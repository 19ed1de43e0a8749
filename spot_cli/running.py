"""Commands that run the pipeline, or say what a run would do."""

import json
from typing import Annotated

import typer
import yaml

from spot_cli.options import Profile, Refresh, Settings, console, overrides

app = typer.Typer()


@app.command()
def run(
    profile: Profile = "demo",
    settings: Settings = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the run; unset: one is made up.")] = None,
    refresh: Refresh = None,
    from_stage: Annotated[
        str | None,
        typer.Option(help="Make this stage and all after it anew; those before it have to be there."),
    ] = None,
) -> None:
    """Run the whole pipeline through its deployment and watch it. Starts server and worker if none is up.

    The exit status is 0 if the run is complete, 1 if it failed, 2 if a setting is wrong, and 3 if it waits for a person:
    for edits (a human Oracle) or to confirm a cost. `spot resume` goes on with it.
    """
    from deployments.local import up  # noqa: PLC0415
    from spot_cli.watch import run_and_watch  # noqa: PLC0415
    from spot_core.config.spot import STAGES, SpotConfig, valid_run_name  # noqa: PLC0415
    from spot_core.training.meeting import join_command  # noqa: PLC0415

    # What is wrong is told before anything starts.
    train = SpotConfig.from_profile(profile, **overrides(settings or [])).train
    if run_name is not None:
        valid_run_name(run_name)
    if from_stage is not None and from_stage not in STAGES:
        raise typer.BadParameter(f"--from-stage {from_stage!r}: the stages are {', '.join(STAGES)}")
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
        "from_stage": from_stage,
    }
    raise typer.Exit(run_and_watch({k: v for k, v in parameters.items() if v is not None}, console))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="Name of the run, or id or name of the flow run, that waits.")],
) -> None:
    """Go on with a run that waits for a person: take the edits, or agree to the cost; and watch it, as `spot run` does."""
    from deployments.local import up  # noqa: PLC0415
    from spot_cli.watch import resume_and_watch  # noqa: PLC0415

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
