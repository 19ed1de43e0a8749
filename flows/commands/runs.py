"""Commands about runs that exist."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import RunName, Store, console

app = typer.Typer()


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
