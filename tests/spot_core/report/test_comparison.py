"""Two runs side by side: what differs is named, what is shared is shared, and changes are paired."""

import json

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.errors import ArtifactError
from spot_core.report.comparison import Difference, compare_runs, find_differences
from spot_core.runs import Run
from spot_core.store import Recipe
from tests.spot_core.report.test_summary import evaluated

DATASET = {
    "name": "chains",
    "questions": {"kind": "generator", "name": "demo-chains", "count": 8, "split": "evaluation"},
}


def start(store, name, **overrides):
    config = SpotConfig.from_profile(
        "demo", **{"store": str(store), "evaluate": {"datasets": [DATASET]}} | overrides
    )
    return Run.create(config, name)


def artifact(run, name, stage, settings, *, statistics=None):
    """Something small that stands under a stage's name in a run."""
    recipe = Recipe(stage, settings, {}, 1)
    with run.store.write(recipe) as slot:
        if not hasattr(slot, "digest"):
            slot.complete([], statistics=statistics or {})
    run.use(name, run.store.get(recipe), reused=False)


def test_every_setting_that_differs_is_named_by_its_path_and_no_other():
    a = {"store": "x", "train": {"beta": 0.1, "lora": None, "betas": [1, 2]}, "old": {"x": 1}}
    b = {"store": "x", "train": {"beta": 0.2, "lora": {"rank": 8}, "betas": [1, 3]}, "new": 1}
    assert list(find_differences(a, b)) == [
        Difference("train.beta", 0.1, 0.2),
        Difference("train.lora", None, {"rank": 8}),
        Difference("train.betas", [1, 2], [1, 3]),
        Difference("old", {"x": 1}, None),
        Difference("new", None, 1),
    ]
    assert not list(find_differences(a, a))


def test_data_sets_are_compared_by_their_names():
    a = {"datasets": [{"name": "chains", "samples": 1}, {"name": "strings", "samples": 1}]}
    b = {"datasets": [{"name": "strings", "samples": 4}, {"name": "chains", "samples": 1}]}
    assert list(find_differences(a, b)) == [Difference("datasets.strings.samples", 1, 4)]
    assert [one.path for one in find_differences(a, {"datasets": []})] == [
        "datasets.chains",
        "datasets.strings",
    ]


def test_what_runs_share_and_what_not(location):
    a, b = start(location, "a"), start(location, "b", train={"objective": "dpo"})
    for run in (a, b):
        artifact(run, "filter", "filter", {"same": True}, statistics={"questions": 1})
        artifact(run, "rectify", "rectify", {"run": run.name}, statistics={"pairs": 3, "cost_usd": 1.5})
    artifact(b, "train", "train", {"run": "b"}, statistics={"final_loss": 0.25})
    compared = compare_runs(Run.open(location, "a"), Run.open(location, "b"))
    assert compared.settings == (Difference("train.objective", "spot_bco", "dpo"),)
    verdicts = {shared.name: shared.verdict for shared in compared.artifacts}
    assert verdicts == {"filter": "shared", "rectify": "same content", "train": "only in one"}
    figures = {figure.name: (figure.a, figure.b) for figure in compared.figures}
    assert figures["pairs"] == (3, 3)
    assert figures["cost of the edits"] == (1.5, 1.5)
    assert figures["final loss"] == (None, 0.25)
    assert json.loads(json.dumps(compared.as_dict()))["artifacts"][0]["verdict"] == "shared"
    assert "| train.objective | spot\\_bco | dpo |" in compared.markdown()


def test_accuracies_are_compared_question_by_question_with_their_intervals(tmp_path):
    a, b = start(tmp_path, "a"), start(tmp_path, "b", train={"objective": "dpo"})
    for run, verdicts in ((a, "cc---c--"), (b, "c-ccc---")):
        answered = evaluated(tmp_path, *verdicts)
        answered.manifest.statistics.update(accuracy=verdicts.count("c") / 8, half_width_95=0.3)
        answered.manifest.inputs["questions"] = "0" * 64
        (answered.folder / "manifest.json").write_text(answered.manifest.model_dump_json())
        run.use("evaluate/after/chains", answered, reused=False)
    [figure] = [f for f in compare_runs(a, b).figures if f.kind == "share"]
    assert (figure.a, figure.b, figure.half_width_a) == (3 / 8, 4 / 8, 0.3)
    assert figure.change == pytest.approx(1 / 8)
    assert figure.half_width_change == pytest.approx(0.6, abs=0.2)
    [line] = [line for *_, lines in compare_runs(a, b).tables() for line in lines if line[0] == figure.name]
    assert line[1:3] == ("37.5 ± 30.0 %", "50.0 ± 30.0 %")


def test_an_artifact_that_is_gone_is_an_error_that_says_what_to_do(location, kept):
    a, b = start(location, "a"), start(location, "b")
    artifact(a, "rectify", "rectify", {}, statistics={})
    used = a.record.used["rectify"]
    kept.remove(f"rectify/{used.key}/0/manifest.json")
    with pytest.raises(ArtifactError, match="run stage 'rectify' again"):
        compare_runs(a, b)
