"""The rectify page shows what was made of the failures, and nothing a model wrote breaks out of it."""

from itertools import pairwise
from pathlib import Path

import pytest

from spot_core.artifacts import ArtifactStore, Recipe
from spot_core.pipeline import stages
from spot_core.report import rectify_page
from tests.spot_core.pipeline.miniature import run_stages
from tests.spot_core.rectification.rows import proposal, row
from tests.spot_core.report.test_markdown import HOSTILE
from tests.spot_core.report.test_pages import assert_harmless


def artifact_of(tmp_path, rows):
    recipe = Recipe("rectify", {}, {}, 1)
    with ArtifactStore(tmp_path).write(recipe) as writer:
        writer.complete(rows, statistics={})
    return ArtifactStore(tmp_path).get(recipe)


def page_of(tmp_path, rows, **options):
    return assert_harmless(rectify_page.edits(artifact_of(tmp_path, rows), gamma=0.6, **options))


def neighbours(page):
    """Neighbours among the cells of the page."""
    cells = [cell.strip() for cell in page.cells]
    return set(pairwise(cells))


def test_a_real_stage_shows_edits_with_the_change_visible(configure):
    artifact = stages.rectify_failures(run_stages(configure(), "one"))
    page = assert_harmless(rectify_page.edits(artifact, gamma=0.6))
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
