"""Stage 3: the Oracle edits the failures."""

import pyarrow.parquet as pq
from prefect import task
from prefect.blocks.system import Secret
from prefect.exceptions import ObjectNotFound

from spot_core.errors import ConfigError, PersonNeededError
from spot_core.pipeline import stages
from spot_core.report.rectify_report import STATISTICS, render_rectify_page, write_report
from spot_core.runs import Run
from tasks.patience import PATIENT
from tasks.progress import progress_artifact
from tasks.publish import publish, publish_table


@task(name="rectify failures", **PATIENT)
def rectify_failures(run_name: str, store: str) -> PersonNeededError | None:
    """Asks the Oracle about what is missing and shows the edits; returns what a person is needed for, if so."""
    run = Run.open(store, run_name)
    try:
        with progress_artifact("rectify-progress", unit="failures") as progress:
            artifact = stages.rectify_failures(
                run,
                progress,
                on_estimate=lambda told: publish("rectify-estimate", told.markdown()),
                secret=secret,
            )
    except PersonNeededError as needed:
        return needed
    gamma, report = run.config.rectify.gamma, run.folder / "report" / "rectify"
    write_report(artifact, report, gamma=gamma)
    run.store.publish(report)
    publish("rectify", render_rectify_page(artifact, gamma=gamma, report=report))
    publish_table("rectify-statistics", pq.read_table(report / STATISTICS).to_pylist())
    return None


def secret(name: str) -> str:
    """The text in a Secret block.

    Raises:
        ConfigError: there is no such block, or it holds no text.
    """
    try:
        value = Secret.load(name, _sync=True).value.get_secret_value()
    except ValueError as error:
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        raise ConfigError(
            f"rectify.oracle.api_key_secret = {name!r}: there is no Secret block of this name on this Prefect server; "
            "make one in the UI (Blocks, +, Secret), or with: prefect block create secret"
        ) from error
    if not isinstance(value, str) or not value:
        raise ConfigError(f"rectify.oracle.api_key_secret = {name!r}: this Secret block does not hold a text")
    return value
