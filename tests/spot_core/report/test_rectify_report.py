"""The report's files hold the artifact's figures, and are there whole or not at all."""

import pyarrow.parquet as pq
import pytest

from spot_core.artifacts import ArtifactStore, Recipe, schemas
from spot_core.rectification.figures import figures
from spot_core.rectification.measures import Measures
from spot_core.report import rectify_report
from spot_core.report.rectify_report import write_report
from tests.spot_core.rectification.rows import proposal, row
from tests.spot_core.rectification.test_statistics import some_rows

NAMES = ["change_ratio.png", "pairs.html", "statistics.parquet"]


def artifact_of(tmp_path, rows, name="a"):
    recipe = Recipe("rectify", {"name": name}, {}, 1)
    with ArtifactStore(tmp_path / "store").write(recipe) as writer:
        writer.complete(rows, statistics={})
    return ArtifactStore(tmp_path / "store").get(recipe)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_figures_picture_and_viewer_are_written(tmp_path):
    rows = some_rows(5)
    write_report(artifact_of(tmp_path, rows), tmp_path / "report", gamma=0.6)
    assert names(tmp_path / "report") == NAMES
    table = pq.read_table(tmp_path / "report" / "statistics.parquet")
    assert table.schema.equals(schemas.STATISTICS)
    stored = [tuple(line.values()) for line in table.to_pylist()]
    assert stored == list(figures(Measures.of_rows(rows), gamma=0.6))
    assert (tmp_path / "report" / "change_ratio.png").read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("rows", [[], [row(0, [proposal("refused")])]], ids=["none", "no edit"])
def test_there_is_a_report_without_edits(tmp_path, rows):
    write_report(artifact_of(tmp_path, rows), tmp_path / "report", gamma=0.6)
    assert names(tmp_path / "report") == NAMES


def test_a_report_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    write_report(artifact_of(tmp_path, some_rows(1)), folder, gamma=0.6)
    before = (folder / "pairs.html").read_bytes()

    def breaks(path, artifact, *, gamma):
        path.write_text("half a")
        raise OSError("no space left on device")

    monkeypatch.setattr(rectify_report, "write_viewer", breaks)
    with pytest.raises(OSError, match="no space"):
        write_report(artifact_of(tmp_path, some_rows(2), "b"), folder, gamma=0.6)
    assert (folder / "pairs.html").read_bytes() == before
    assert names(folder) == NAMES
