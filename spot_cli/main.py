"""The command `spot`, put together from the commands in this folder."""

import typer
from pydantic import ValidationError
from rich.console import Console

from spot_cli import running, runs, services, store
from spot_core.errors import SpotError

app = typer.Typer(
    help="Surgical Post-Training: lift a model's reasoning by training on minimal corrections of its mistakes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for commands in (running, runs, services, store):
    app.add_typer(commands.app)


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
