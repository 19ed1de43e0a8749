"""What several commands take, and where they print."""

import os
from typing import Annotated

import typer
import yaml
from rich.console import Console

from spot_core.config.profiles import profile_names

console = Console()
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = 200  # a pipe or a log has no width, and tables are unreadable in rich's 80

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
Store = Annotated[str, typer.Option(help="The artifact store that the run is in.")]
RunName = Annotated[str, typer.Argument(help="Name of the run.", metavar="RUN")]


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
