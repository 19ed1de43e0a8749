"""Stage 3: the Oracle edits the failures."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report import pages
from spot_core.runs import Run
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="rectify failures")
def rectify_failures(run_name: str, store: str) -> None:
    """Asks the Oracle about what is missing and shows the edits."""
    run = Run.open(store, run_name)
    with progress_artifact("rectify-progress", unit="failures") as progress:
        artifact = stages.rectify_failures(run, progress)
    publish("rectify", pages.edits(artifact, gamma=run.config.rectify.gamma))
