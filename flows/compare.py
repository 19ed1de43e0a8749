"""Compares two runs in the UI, as `spot compare` does in a terminal."""

from typing import Any

from prefect import flow

from spot_core.report.comparison import compare_runs
from spot_core.runs import Run
from tasks.publish import publish


@flow(name="compare", flow_run_name="{a} and {b}", persist_result=True, result_serializer="json")
def compare(a: str, b: str, store: str = "artifacts") -> dict[str, Any]:
    """Shows which settings of two runs differ, which artifacts they share, and their figures side by side.

    Args:
        a: Name of a run.
        b: Name of another.
        store: The artifact store that both are in.

    Returns:
        The comparison, as `spot compare --json` prints it.
    """
    compared = compare_runs(Run.open(store, a), Run.open(store, b))
    publish("compare", compared.markdown(), description=f"{a} and {b}")
    return compared.as_dict()
