"""A run is its name and its settings: it can be gone on with, but not changed under the same name."""

import json

import pytest

from spot_core.artifacts import Recipe
from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError, PersonNeededError
from spot_core.runs import Run

RECIPE = Recipe("questions", {"kind": "test"}, {"source": "0" * 64}, 1)


def config(tmp_path, **overrides):
    return SpotConfig.from_profile("demo", store=str(tmp_path / "store"), **overrides)


def write(run, *, at_least=0):
    row = {
        "question_id": "1",
        "question": "?",
        "answer": "1",
        "source": "test",
        "source_id": None,
        "checker": None,
        "metadata": None,
    }
    with run.store.write(RECIPE, at_least=at_least) as writer:
        writer.complete([row], statistics={})
    return run.store.get(RECIPE, at_least=at_least)


def test_a_run_comes_back_as_it_was(tmp_path):
    run = Run.create(config(tmp_path), "one", refresh=("train",))
    run.use("questions", write(run), reused=False)
    run.skip("train", "no pairs")
    again = Run.open(tmp_path / "store", "one")
    assert again.record == run.record
    assert again.config == config(tmp_path)
    assert json.loads((run.folder / "run.json").read_text())["run_name"] == "one"


def test_the_same_name_with_other_settings_is_refused_naming_them(tmp_path):
    Run.create(config(tmp_path), "one")
    with pytest.raises(ConfigError, match=r"'one' is taken .*\(in train\)"):
        Run.create(config(tmp_path, train={"objective": "dpo"}), "one")
    Run.create(config(tmp_path, train={"objective": "dpo"}), "two")


@pytest.mark.parametrize(
    "changed",
    [
        {"dispatch": {"stages": "deployments", "gpu_limit": None}},
        {"engine": {"gpu_memory_utilization": 0.5, "concurrency": 7, "base_url": "http://127.0.0.1:8000/v1"}},
    ],
)
def test_a_run_may_go_on_elsewhere_or_faster(tmp_path, changed):
    run = Run.create(config(tmp_path), "one")
    run.use("questions", write(run), reused=False)
    again = Run.create(config(tmp_path, **changed), "one")
    assert again.record.used == run.record.used
    assert Run.open(tmp_path / "store", "one").config == config(tmp_path, **changed)


def test_what_decides_the_answers_of_an_engine_makes_another_run(tmp_path):
    Run.create(config(tmp_path), "one")
    with pytest.raises(ConfigError, match=r"\(in engine\)"):
        Run.create(config(tmp_path, engine={"dtype": "bfloat16"}), "one")


def test_what_a_stage_needs_a_person_for_outlives_its_process(tmp_path):
    run = Run.create(config(tmp_path), "one")
    run.wait("rectify", PersonNeededError("6 wait", page="# 6", wait_days=2, key="k"))
    wait = Run.open(tmp_path / "store", "one").record.waits["rectify"]
    assert wait.model_dump() == {"message": "6 wait", "page": "# 6", "wait_days": 2, "key": "k"}


def test_going_on_keeps_what_was_done(tmp_path):
    run = Run.create(config(tmp_path), "one")
    run.use("questions", write(run), reused=False)
    again = Run.create(config(tmp_path), "one")
    assert again.record.used == run.record.used
    again.use("questions", run.store.get(RECIPE), reused=True)
    assert not again.record.used["questions"].reused


def test_a_run_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    with pytest.raises(ConfigError, match="none yet"):
        Run.open(tmp_path / "store", "nothing")
    Run.create(config(tmp_path), "one")
    with pytest.raises(ConfigError, match="latest runs: one"):
        Run.open(tmp_path / "store", "nothing")


def test_a_stage_to_refresh_has_to_exist(tmp_path):
    with pytest.raises(ConfigError, match="rollouts"):
        Run.create(config(tmp_path), "one", refresh=("rollouts",))


@pytest.mark.parametrize("name", ["../escape", "a/b", ""])
def test_a_name_cannot_leave_the_store(tmp_path, name):
    with pytest.raises(ValueError, match="run_name"):
        Run.create(config(tmp_path), name)
    with pytest.raises(ValueError, match="run_name"):
        Run.open(tmp_path / "store", name)


def test_a_broken_record_is_an_error_that_names_the_file(tmp_path):
    run = Run.create(config(tmp_path), "one")
    path = run.folder / "run.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ConfigError, match=r"run\.json is not a run record"):
        Run.open(tmp_path / "store", "one")


def test_a_refreshed_artifact_is_asked_for_once_unless_told_again(tmp_path):
    run = Run.create(config(tmp_path), "one")
    write(run)
    assert run.target(RECIPE) == 0
    run.ask_anew(RECIPE)
    assert run.target(RECIPE) == 1
    write(run, at_least=1)
    run.ask_anew(RECIPE)
    assert Run.open(tmp_path / "store", "one").target(RECIPE) == 1
    run.ask_anew(RECIPE, again=True)
    assert run.target(RECIPE) == 2


def test_stages_to_refresh_add_up_when_a_run_goes_on(tmp_path):
    Run.create(config(tmp_path), "one", refresh=("rollout",))
    assert Run.create(config(tmp_path), "one").record.refresh == ["rollout"]
    again = Run.create(config(tmp_path), "one", refresh=("rollout", "train"))
    assert again.record.refresh == ["rollout", "train"]
    assert Run.open(tmp_path / "store", "one").record.refresh == ["rollout", "train"]


def test_a_rehearsed_run_leaves_no_trace(tmp_path):
    run = Run.rehearse(config(tmp_path), refresh=("rollout",))
    run.ask_anew(RECIPE)
    assert not (tmp_path / "store").exists()
