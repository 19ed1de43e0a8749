"""The filter's page shows verdicts, slow rows and rows to audit, whatever a model wrote and however many rows there are."""

import time
from collections import Counter

import pytest

from spot_core.pipeline import stages
from spot_core.report.filter_page import choose_audit_rows, compute_wilson_interval, render_filter_page
from spot_core.store import Artifact
from tests.spot_core.pipeline.miniature import run_stages
from tests.spot_core.report.test_stage_pages import artifact_of, assert_harmless, rollout_row
from tests.spot_core.test_markdown import HOSTILE

TAKE = ("incorrect",)


def checked_row(number: int, text: str = "x", verdict: str = "incorrect", answer: str | None = "7") -> dict:
    return rollout_row(number, text) | {"extracted_answer": answer, "method": "boxed/x", "verdict": verdict}


def filtered(tmp_path, rows: list[dict], slowest: tuple[int, ...] = ()) -> Artifact:
    counts = Counter(row["verdict"] for row in rows)
    figures = {
        "verdicts": dict(counts),
        "methods": {"boxed/x": len(rows)},
        "accuracy": counts["correct"] / len(rows) if rows else None,
        "check_seconds": 1.5,
        "slowest": [{"row": row, "seconds": 1.0 / (n + 1)} for n, row in enumerate(slowest)],
    }
    return artifact_of(tmp_path, "filter", rows, figures)


def test_a_real_artifact_shows_counts_examples_slow_rows_and_an_audit(configure):
    artifact = stages.check_answers(run_stages(configure(), "one"))
    page = assert_harmless(render_filter_page(artifact, take=TAKE))
    assert page.tags.count("details") == len(artifact.statistics["verdicts"]) == 2
    assert "Accuracy of the rollout" in page.text
    assert "95 % interval" in page.text
    assert "img" in page.tags
    slow = artifact.statistics["slowest"]
    assert len(slow) == 10
    cells = [text.strip() for text in page.cells]
    assert {f"{entry['seconds']:.4f}" for entry in slow} <= set(cells)
    assert {entry["question_id"] for entry in slow} <= set(cells)
    assert "20 rows to audit" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_not_break_out(tmp_path, text):
    row = checked_row(0, text, answer=text) | {"method": text}
    page = assert_harmless(render_filter_page(filtered(tmp_path, [row], slowest=(0,)), take=TAKE))
    assert page.tags.count("details") == 1
    assert page.tags.count("pre") == 2
    assert page.tags.count("table") == 4  # by verdict, by method, slowest, audit


def test_a_megabyte_of_answer_makes_a_short_page_quickly(tmp_path):
    text = "|`<b>\n" * 200_000
    rows = [checked_row(n, text, answer=text) for n in range(25)]
    artifact = filtered(tmp_path, rows, slowest=tuple(range(10)))
    started = time.perf_counter()
    page = render_filter_page(artifact, take=TAKE)
    assert time.perf_counter() - started < 10
    assert len(page) < 100_000
    assert_harmless(page)


def test_no_rows_are_a_page_too(tmp_path):
    page = assert_harmless(render_filter_page(filtered(tmp_path, []), take=TAKE))
    assert "no rows" in page.text
    assert "table" not in page.tags


def test_an_artifact_of_before_slow_rows_were_kept_has_a_page(tmp_path):
    rows = [checked_row(0)]
    figures = {"verdicts": {"incorrect": 1}, "methods": {"boxed/x": 1}, "accuracy": 0.0}
    page = assert_harmless(render_filter_page(artifact_of(tmp_path, "filter", rows, figures), take=TAKE))
    assert "Slowest" not in page.text


def test_the_audit_holds_every_verdict_in_equal_parts_and_is_the_same_every_time(tmp_path):
    rare = {3: "timeout", 40: "ambiguous", 41: "ambiguous"}
    rows = [checked_row(n, verdict=rare.get(n, ("correct", "incorrect")[n % 2])) for n in range(500)]
    artifact = filtered(tmp_path, rows)
    chosen = choose_audit_rows(artifact, 20)
    assert chosen == choose_audit_rows(artifact, 20)
    assert len(set(chosen)) == 20
    counts = Counter(rows[number]["verdict"] for number in chosen)
    assert counts["timeout"] == 1
    assert counts["ambiguous"] == 2
    assert {counts["correct"], counts["incorrect"]} == {8, 9}


def test_the_audit_takes_what_there_is(tmp_path):
    assert sorted(choose_audit_rows(filtered(tmp_path, [checked_row(n) for n in range(3)]), 20)) == [0, 1, 2]


def test_the_audit_does_not_depend_on_other_rows_of_other_verdicts(tmp_path):
    rows = [checked_row(n, verdict="correct") for n in range(100)]
    alone = choose_audit_rows(filtered(tmp_path, rows), 10)
    more = [*rows, *(checked_row(n, verdict="incorrect") for n in range(100, 200))]
    together = [number for number in choose_audit_rows(filtered(tmp_path, more), 20) if number < 100]
    assert together == alone


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # by the closed form for no hits, z²/(n + z²), and from the table in Newcombe 1998, Stat. Med. 17, 857–872
    [(0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (29, 29, 0.8830, 1.0)],
)
def test_the_interval_is_wilsons(hits, of, low, high):
    assert compute_wilson_interval(hits, of) == pytest.approx((low, high), abs=5e-5)
