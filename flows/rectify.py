"""Stage 3, rectify: the Oracle edits the failures."""

from prefect import flow

from flows.stage import STAGE_OPTIONS, begin
from tasks.rectify import rectify_failures


@flow(name="rectify", **STAGE_OPTIONS)
def rectify(run_name: str, store: str = "artifacts", refresh: bool = False) -> None:
    """Runs stage `rectify` of the run `run_name`: makes what is missing, or with `refresh` makes it anew."""
    begin("rectify", run_name, store, refresh=refresh)
    rectify_failures(run_name, store)
