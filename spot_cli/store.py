"""Commands about the artifact store."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.table import Column, Table

from spot_cli.options import Store, console

if TYPE_CHECKING:
    from spot_core.store.garbage import Garbage

app = typer.Typer()


@app.command()
def gc(
    store: Store = "artifacts",
    days: Annotated[
        float, typer.Option(help="Keep unfinished work of so many days; a run may wait for a person.", min=0)
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without, nothing is.")] = False,
) -> None:
    """List the artifacts that no run refers to, and what was left over; with --yes remove them.

    To let go of a run's artifacts, delete its folder (`runs/NAME` in the store) first. Runs, the Oracle's replies and
    whatever somebody is at work on are kept. Works on a folder and on `s3://…`.
    """
    from spot_core.runs import used_artifacts  # noqa: PLC0415
    from spot_core.store import ArtifactStore  # noqa: PLC0415
    from spot_core.store.garbage import find_garbage, remove_garbage  # noqa: PLC0415

    opened = ArtifactStore(store)
    found = find_garbage(opened, used_artifacts(opened), keep_days=days)
    if not found:
        console.print("Nothing to remove.")
        return
    console.print(_table(found))
    total = decimal(sum(garbage.bytes for garbage in found))
    if not yes:
        console.print(f"{total} could be removed: add --yes")
        return
    with console.status("Removing: what somebody seems to be at work on is watched for a while"):
        removed, busy = remove_garbage(opened, found, lambda: used_artifacts(opened), keep_days=days)
    console.print(f"Removed {decimal(sum(garbage.bytes for garbage in removed))} of {total}.")
    for place in busy:
        console.print(f"{place} was left alone: somebody is at work on it", markup=False, highlight=False)


def _table(found: "list[Garbage]") -> Table:
    artifact = Column("artifact", min_width=max(len(str(garbage.place)) for garbage in found))
    table = Table(artifact, "what", "why", "files", "size", "last changed (UTC)")
    for garbage in found:
        changed = datetime.fromtimestamp(garbage.modified, UTC).strftime("%Y-%m-%d %H:%M")
        size, files = decimal(garbage.bytes), str(len(garbage.names))
        table.add_row(str(garbage.place), garbage.what, garbage.why, files, size, changed)
    return table
