"""A run is its name and its settings: it can be gone on with, but not changed under the same name."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError, PersonNeededError
from spot_core.runs import Run
from spot_core.store import Recipe

RECIPE = Recipe("questions", {"kind": "test"}, {"source": "0" * 64}, 1)


def config(location, **overrides):
    return SpotConfig.from_profile("demo", store=location, **overrides)


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


def test_a_run_comes_back_as_it_was(location):
    run = Run.create(config(location), "one", refresh=("train",))
    run.use("questions", write(run), reused=False)
    run.skip("train", "no pairs")
    again = Run.open(location, "one")
    assert again.record == run.record
    assert again.config == config(location)


def test_the_same_name_with_other_settings_is_refused_naming_them(location):
    Run.create(config(location), "one")
    with pytest.raises(ConfigError, match=r"'one' is taken .*\(in train\)"):
        Run.create(config(location, train={"objective": "dpo"}), "one")
    Run.create(config(location, train={"objective": "dpo"}), "two")


@pytest.mark.parametrize(
    "changed",
    [
        {"dispatch": {"stages": "deployments", "gpu_limit": None}},
        {"train": {"ranks": 2, "zero_stage": 3, "micro_batch_tokens": 64, "checkpoint_every_steps": 7}},
        {"engine": {"gpu_memory_utilization": 0.5, "concurrency": 7, "base_url": "http://127.0.0.1:8000/v1"}},
    ],
)
def test_a_run_may_go_on_elsewhere_or_faster(location, changed):
    run = Run.create(config(location), "one")
    run.use("questions", write(run), reused=False)
    again = Run.create(config(location, **changed), "one")
    assert again.record.used == run.record.used
    assert Run.open(location, "one").config == config(location, **changed)


def test_what_decides_the_answers_of_an_engine_makes_another_run(location):
    Run.create(config(location), "one")
    with pytest.raises(ConfigError, match=r"\(in engine\)"):
        Run.create(config(location, engine={"dtype": "bfloat16"}), "one")


def test_what_a_stage_needs_a_person_for_outlives_its_process(location):
    run = Run.create(config(location), "one")
    run.wait("rectify", PersonNeededError("6 wait", page="# 6", wait_days=2, key="k"))
    wait = Run.open(location, "one").record.waits["rectify"]
    assert wait.model_dump() == {"message": "6 wait", "page": "# 6", "wait_days": 2, "key": "k"}


def test_going_on_keeps_what_was_done(location):
    run = Run.create(config(location), "one")
    run.use("questions", write(run), reused=False)
    again = Run.create(config(location), "one")
    assert again.record.used == run.record.used
    again.use("questions", run.store.get(RECIPE), reused=True)
    assert not again.record.used["questions"].reused


def test_a_run_that_does_not_exist_is_refused_with_those_that_do(location):
    with pytest.raises(ConfigError, match="none yet"):
        Run.open(location, "nothing")
    Run.create(config(location), "one")
    with pytest.raises(ConfigError, match="latest runs: one"):
        Run.open(location, "nothing")


def test_a_stage_to_refresh_has_to_exist(location):
    with pytest.raises(ConfigError, match="rollouts"):
        Run.create(config(location), "one", refresh=("rollouts",))


@pytest.mark.parametrize("name", ["../escape", "a/b", ""])
def test_a_name_cannot_leave_the_store(location, name):
    with pytest.raises(ValueError, match="run_name"):
        Run.create(config(location), name)
    with pytest.raises(ValueError, match="run_name"):
        Run.open(location, name)


def test_a_broken_record_is_an_error_that_names_it(location, kept):
    Run.create(config(location), "one")
    (record,) = (name for name in kept.names(".json") if name.startswith("runs/one/run"))
    kept.write(record, kept.read(record)[:-20])
    with pytest.raises(ConfigError, match=r"runs/one/run\.json is not a run record"):
        Run.open(location, "one")


def test_a_refreshed_artifact_is_asked_for_once_unless_told_again(location):
    run = Run.create(config(location), "one")
    write(run)
    assert run.target(RECIPE) == 0
    run.ask_anew(RECIPE)
    assert run.target(RECIPE) == 1
    write(run, at_least=1)
    run.ask_anew(RECIPE)
    assert Run.open(location, "one").target(RECIPE) == 1
    run.ask_anew(RECIPE, again=True)
    assert run.target(RECIPE) == 2


def test_a_flow_run_that_is_retried_does_not_ask_for_new_generations_again(location):
    run = Run.create(config(location), "one")
    run.want_anew(("filter",), told_by="a flow run")
    run.ask_anew(RECIPE)
    again = Run.open(location, "one")
    again.want_anew(("filter",), told_by="a flow run")
    assert again.target(RECIPE) == run.target(RECIPE)
    assert again.record.targets == run.record.targets != {}
    again.want_anew((), told_by="another")
    assert Run.open(location, "one").record.refresh == []
    again.want_anew(("filter",), told_by="a flow run")
    assert Run.open(location, "one").record.refresh == []


def test_stages_to_refresh_add_up_when_a_run_goes_on(location):
    Run.create(config(location), "one", refresh=("rollout",))
    assert Run.create(config(location), "one").record.refresh == ["rollout"]
    again = Run.create(config(location), "one", refresh=("rollout", "train"))
    assert again.record.refresh == ["rollout", "train"]
    assert Run.open(location, "one").record.refresh == ["rollout", "train"]


def test_a_rehearsed_run_leaves_no_trace(location, kept):
    run = Run.rehearse(config(location), refresh=("rollout",))
    run.ask_anew(RECIPE)
    assert kept.names() == []


def test_of_changes_by_several_processes_none_is_lost(location):
    Run.create(config(location), "one")

    def change(number):
        run = Run.open(location, "one")
        for step in range(5):
            run.skip(f"stage-{number}-{step}", "of another process")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    assert len(Run.open(location, "one").record.skipped) == 20


def test_a_run_opened_earlier_does_not_undo_what_was_noted_since(location):
    run = Run.create(config(location), "one")
    Run.open(location, "one").confirm("cost")
    run.skip("train", "no pairs")
    record = Run.open(location, "one").record
    assert (record.confirmed, record.skipped) == (["cost"], {"train": "no pairs"})
    assert run.record == record


def test_what_is_published_is_there_for_others(location, kept):
    run = Run.create(config(location), "one")
    (run.folder / "report").mkdir(parents=True)
    (run.folder / "report" / "page.html").write_text("<p>done")
    run.publish()
    assert kept.read("runs/one/report/page.html") == b"<p>done"
    assert run.store.read_document("runs/one/report/page.html") == "<p>done"
