"""Every stage's page shows what came out, and nothing a model wrote breaks out of it."""

import re

import pytest

from spot_core.pipeline import stages
from spot_core.report.stage_pages import (
    render_evaluation,
    render_inputs,
    render_reference,
    render_rollout,
    render_summary,
    render_training,
)
from spot_core.report.summary import write_summary
from spot_core.store import ArtifactStore, Recipe
from tests.spot_core.pipeline.miniature import QUESTIONS, pretend_training, run_stages
from tests.spot_core.test_markdown import HOSTILE, Page, rendered

TAGS = "h1 h2 p table thead tbody tr th td pre code details summary strong b s br hr img blockquote"
HARMLESS = "data:image/png;base64,"


def assert_harmless(markdown: str) -> Page:
    html = rendered(markdown)
    page = Page(html)
    assert set(page.tags) <= set(TAGS.split())
    assert html.count("<img") == html.count(f'<img src="{HARMLESS}')
    assert "onerror=" not in html or "<img src=x" not in html
    for character in ("\0", "\u202e", "\u2066"):
        assert character not in html
    return page


@pytest.fixture
def run(configure):
    return run_stages(configure(), "one")


def test_inputs_list_every_set(run):
    artifacts = stages.prepare(run)
    page = assert_harmless(render_inputs(run, artifacts))
    assert {"chains", "questions", str(QUESTIONS), "10"} <= {text.strip() for text in page.cells}


def test_the_rollout_shows_figures_and_examples(run):
    page = assert_harmless(render_rollout(stages.roll_out(run)))
    assert page.tags.count("details") == 5
    assert "Compute" in page.text
    assert "Answer: \\boxed{" in page.text


def test_training_evaluation_and_summary_show_figures_and_pictures(trained_fake, run):
    pretend_training(run)
    page = assert_harmless(render_reference(stages.compute_reference(run)))
    assert "'<|end|>'" in [text.strip() for text in page.cells]
    trained = stages.train_policy(run)
    page = assert_harmless(render_training(trained))
    assert "img" in page.tags and "have 100.0 % of the change that training made" in page.text
    made = stages.evaluate_models(run)
    page = assert_harmless(render_evaluation(run.config.evaluate.datasets, made))
    assert {"img", "table"} <= set(page.tags)
    row = [text.strip() for text in page.cells]
    change = row[row.index("chains") + 5]
    assert re.fullmatch(r"[+-]\d+\.\d ± \d+\.\d points", change)
    page = assert_harmless(render_summary(run, write_summary(run)))
    row = [text.strip() for text in page.cells]
    assert change in row
    assert row[row.index("objective") + 1] == "spot_bco"


def test_a_skipped_training_is_explained_on_the_summary(run):
    run.skip("train", "no pair was accepted: {'too_different': 7}")
    page = assert_harmless(render_summary(run, write_summary(run)))
    assert "train was skipped: no pair was accepted" in page.text


# --- hostile text ---------------------------------------------------------------------------------------------


def rollout_row(number, text):
    return {
        "question_id": f"{number:04d}",
        "sample": 0,
        "question": text,
        "answer": text,
        "source": "test",
        "prompt_token_ids": [1],
        "response": text,
        "response_token_ids": [1],
        "ids_sampled": True,
        "finish_reason": "stop",
        "seed": 1,
        "checker": None,
        "metadata": None,
    }


def artifact_of(tmp_path, stage, rows, statistics):
    recipe = Recipe(stage, {"text": repr(rows)}, {}, 1)
    with ArtifactStore(tmp_path).write(recipe) as writer:
        writer.complete(rows, statistics=statistics)
    return ArtifactStore(tmp_path).get(recipe)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_not_break_out_of_the_rollouts_page(tmp_path, text):
    page = assert_harmless(
        render_rollout(artifact_of(tmp_path, "rollout", [rollout_row(0, text)], {"responses": 1}))
    )
    assert page.tags.count("details") == page.tags.count("pre") == 1
