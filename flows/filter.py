"""Stage 2, filter: check every answer, keep the failures."""

from prefect import flow

from flows.stage import STAGE_OPTIONS, begin
from tasks.filter import check_answers


@flow(name="filter", **STAGE_OPTIONS)
def filter(run_name: str, store: str = "artifacts", refresh: bool = False) -> None:
    """Runs stage `filter` of the run `run_name`: makes what is missing, or with `refresh` makes it anew."""
    begin("filter", run_name, store, refresh=refresh)
    check_answers(run_name, store)
