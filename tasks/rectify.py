"""Stage 3: the Oracle edits the failures."""

from prefect import task

from spot_core.pipeline import stages
from spot_core.report import rectify_page
from spot_core.report.rectify_report import write_report
from spot_core.runs import Run
from tasks.progress import progress_artifact
from tasks.publish import publish


@task(name="rectify failures")
def rectify_failures(run_name: str, store: str) -> None:
    """Asks the Oracle about what is missing and shows the edits."""
    run = Run.open(store, run_name)
    with progress_artifact("rectify-progress", unit="failures") as progress:
        artifact = stages.rectify_failures(run, progress)
    gamma, report = run.config.rectify.gamma, run.folder / "report" / "rectify"
    write_report(artifact, report, gamma=gamma)
    publish("rectify", rectify_page.edits(artifact, gamma=gamma, report=report))
