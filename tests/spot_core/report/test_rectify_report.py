"""The report's files hold the figures and are there whole or not at all; no text breaks out of the page."""

from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spot_core.pipeline import stages
from spot_core.rectification.figures import figures
from spot_core.rectification.measures import Measures
from spot_core.report import rectify_report
from spot_core.report.rectify_report import render_rectify_page, write_report
from spot_core.store import ArtifactStore, Recipe, schemas
from tests.spot_core.pipeline.miniature import run_stages
from tests.spot_core.rectification.rows import proposal, row
from tests.spot_core.rectification.test_statistics import some_rows
from tests.spot_core.report.test_stage_pages import assert_harmless
from tests.spot_core.test_markdown import HOSTILE

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


# --- the page ---------------------------------------------------------------------------------------------------


def page_of(tmp_path, rows, **options):
    return assert_harmless(render_rectify_page(artifact_of(tmp_path, rows), gamma=0.6, **options))


def neighbours(page):
    """Neighbours among the cells of the page."""
    cells = [cell.strip() for cell in page.cells]
    return set(pairwise(cells))


def test_a_real_stage_shows_edits_with_the_change_visible(configure):
    artifact = stages.rectify_failures(run_stages(configure(), "one"))
    page = assert_harmless(render_rectify_page(artifact, gamma=0.6))
    assert f"{artifact.statistics['pairs']} pairs" in page.text
    assert {"s", "strong", "img"} <= set(page.tags)


def test_figures_of_a_chain_are_on_the_page(tmp_path):
    rows = [row(n, [proposal(oracle="calculator", cost_usd=0.0, change_ratio=n / 100)]) for n in range(30)]
    rows += [
        row(n, [proposal("wrong_answer", oracle="calculator", cost_usd=0.0), proposal()])
        for n in range(30, 40)
    ]
    rows += [row(n, [proposal("too_different", change_ratio=0.75)]) for n in range(40, 50)]
    page = page_of(tmp_path, rows)
    assert "40 pairs of 50 failures" in page.text
    beside = neighbours(page)
    assert {("accepted", "40"), ("40", "80.0 %"), ("too_different", "10")} <= beside
    cells = [cell.strip() for cell in page.cells]
    edits, over = cells.index("edits"), cells.index("over γ = 0.6")
    assert cells[edits + 1 : edits + 3] == ["40", "50"]
    assert cells[over + 1 : over + 3] == ["0.0 %", "20.0 %"]
    calculator = cells.index("calculator")
    assert cells[calculator + 1 : calculator + 4] == ["40", "40", "30"]
    teacher = cells.index("openai:teacher")
    assert cells[teacher + 1 : teacher + 8] == ["20", "20", "10", "3,000", "$0.20", "300", "$0.02"]
    again = cells.index("wrong_answer")
    assert cells[again + 1 : again + 4] == ["10", "10", "100.0 %"]
    assert page.tags.count("img") == 1


def test_examples_go_from_the_smallest_to_the_largest_accepted_edit(tmp_path):
    rows = [row(n, [proposal(change_ratio=((7 * n) % 101) / 200)]) for n in range(101)]
    page = page_of(tmp_path, rows)
    ratios = [part.split(")")[0][:5] for part in page.text.split("R = ")[1:]]
    assert ratios == ["0.000", "0.125", "0.250", "0.375", "0.500"]


def test_each_other_status_has_an_example(tmp_path):
    statuses = ["wrong_answer", "too_different", "flagged", "refused", "pending"]
    rows = [row(n, [proposal(statuses[n % 5])]) for n in range(20)]
    page = page_of(tmp_path, rows)
    assert page.tags.count("details") == 5
    assert "0 pairs" in page.text
    for status in statuses:
        assert f"Example of {status}: the reason of {status}" in page.text


def test_the_page_says_where_the_viewer_is(tmp_path):
    assert str(Path("/store/runs/one/report/rectify/pairs.html")) in (
        page_of(tmp_path, [row(0, [proposal()])], report=Path("/store/runs/one/report/rectify")).text
    )


def test_a_run_without_failures_has_a_page_all_the_same(tmp_path):
    assert "0 pairs" in page_of(tmp_path, []).text


def test_a_failure_that_nobody_was_asked_about_has_no_rates(tmp_path):
    made = row(0, [], status="not_asked", reason="the budget is spent", oracle="openai:teacher")
    assert "not_asked" in page_of(tmp_path, [made]).text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_not_break_out_of_the_page(tmp_path, text):
    texts = {"question": text, "answer": text, "response": text}
    again = [proposal("wrong_answer", oracle=text, reason=text), proposal(oracle=text, attempt=2)]
    rows = [
        row(0, again, rectified=f"{text} and more", flags=[text], **texts),
        row(1, [proposal("refused", oracle=text, reason=text)], **texts),
    ]
    page = page_of(tmp_path, rows)
    assert page.tags.count("details") == 1
    assert page.tags.count("pre") == 2
    assert page.tags.count("table") == 7
