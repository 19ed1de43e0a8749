"""The files about a rectify artifact: figures, picture, and the pairs to look at. Made from it, not part of it."""

from pathlib import Path

from spot_core.artifacts import Artifact, schemas
from spot_core.artifacts.manifest import replaced
from spot_core.artifacts.writer import write_parquet
from spot_core.rectification.figures import figures
from spot_core.rectification.measures import Measures
from spot_core.report import plots
from spot_core.report.viewer.page import write_viewer

STATISTICS = "statistics.parquet"
PICTURE = "change_ratio.png"
VIEWER = "pairs.html"


def write_report(artifact: Artifact, folder: Path, *, gamma: float) -> None:
    """Writes `statistics.parquet`, `change_ratio.png` and `pairs.html`, each whole or not at all.

    Args:
        artifact: of the rectify stage.
        folder: made if it is not there; files of an earlier report are replaced.
        gamma: largest change ratio that was accepted.
    """
    measures = Measures.of_artifact(artifact)
    with replaced(folder / STATISTICS) as path:
        lines = (
            dict(zip(schemas.STATISTICS.names, figure, strict=True))
            for figure in figures(measures, gamma=gamma)
        )
        write_parquet(path, lines, schemas.STATISTICS, what="the report's figures")
    with replaced(folder / PICTURE) as path:
        path.write_bytes(picture(measures, gamma=gamma))
    with replaced(folder / VIEWER) as path:
        write_viewer(path, artifact, gamma=gamma)


def picture(measures: Measures, *, gamma: float) -> bytes:
    """PNG of the change ratios of accepted and other measured edits."""
    measured = measures.rows.dropna(subset="change_ratio")
    accepted = measured["status"] == "accepted"
    return plots.change_ratios(
        measured.loc[accepted, "change_ratio"].to_numpy(),
        measured.loc[~accepted, "change_ratio"].to_numpy(),
        gamma=gamma,
    )
