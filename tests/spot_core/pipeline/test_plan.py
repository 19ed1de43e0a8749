"""A dry run tells what would happen, and leaves nothing behind; it needs no network, no model and no GPU."""

import os
import subprocess
import sys

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.errors import InputError
from spot_core.pipeline import resolve
from spot_core.pipeline.plan import make_plan
from tests.spot_core.pipeline.miniature import run_stages


def what_happens(plan):
    return {name: what for name, _, what in plan.stages}


def test_in_an_empty_store_everything_is_to_do_and_nothing_is_written(tmp_path):
    plan = make_plan(SpotConfig.from_profile("demo", store=str(tmp_path / "store")))
    assert set(what_happens(plan).values()) == {"to do"}
    keys = {name: key for name, key, _ in plan.stages}
    assert len(keys["questions/chains"]) == 16
    assert {keys[name] for name in ("rollout", "filter", "rectify", "reference", "train")} == {"pending"}
    assert [name for name in keys if name.startswith("evaluate/")] == [
        f"evaluate/{when}/{name}"
        for when in ("before", "after")
        for name in ("chains", "instructions", "strings")
    ]
    assert not (tmp_path / "store").exists()


def test_the_demo_plan_shows_questions_prompt_and_memory(tmp_path):
    plan = make_plan(SpotConfig.from_profile("demo", store=str(tmp_path)))
    figures = dict(plan.figures)
    assert figures["questions"] == "1,450"
    assert figures["oracle"] == "calculator, free"
    assert plan.prompt.startswith("Q: Compute ")
    assert "GiB per rank (0.4M parameters" in plan.memory
    for text in (plan.text(), plan.markdown()):
        assert "1,450" in text
        assert plan.prompt.splitlines()[0] in text


def test_the_plan_counts_every_sample_and_only_failures_that_are_taken(tmp_path):
    def figures(filter_settings, samples=4):
        oracle = {"kind": "openai", "model": "m", "base_url": "http://x", "api_key_env": "K"}
        config = SpotConfig.from_profile(
            "demo",
            store=str(tmp_path),
            questions={"count": 160},
            rollout={"samples": samples},
            filter=filter_settings,
            rectify={"oracle": oracle, "prices": {"m": {"input": 1000.0}}},
        )
        return dict(make_plan(config).figures)

    plan = figures({})
    assert plan["rollout tokens"] == (
        f"at most 96 a response, 4 a question, {160 * 4 * 96:,} in all; about {160 * 4 * 96:,} at 96 a response"
    )
    assert "for 150 failures" in plan["oracle"]
    assert "for 320 failures" in figures({"keep": "all"})["oracle"]
    assert "for 100 failures" in figures({"keep": "all", "max_failures": 100})["oracle"]
    assert "for 80 failures" in figures({}, samples=1)["oracle"]


def test_after_the_stages_ran_the_plan_says_what_is_reused(configure):
    config = configure()
    run = run_stages(config, "one")
    before = sorted(str(p) for p in run.store.root.rglob("*"))
    what = what_happens(make_plan(config))
    for name in ("questions/chains", "questions", "rollout", "filter", "rectify"):
        assert what[name] == f"reused, {run.record.used[name].rows} rows"
    assert what["reference"] == what["train"] == "to do"
    assert what["evaluate/before/chains"] == "to do"
    assert sorted(str(p) for p in run.store.root.rglob("*")) == before


def test_a_planned_refresh_is_to_do_and_changes_nothing(configure):
    config = configure()
    run = run_stages(config, "one")
    before = sorted(str(p) for p in run.store.root.rglob("*"))
    what = what_happens(make_plan(config, refresh=("rectify",)))
    assert what["filter"].startswith("reused")
    assert what["rectify"] == "to do"
    assert sorted(str(p) for p in run.store.root.rglob("*")) == before
    assert what_happens(make_plan(config))["rectify"].startswith("reused")


@pytest.fixture
def no_hub(monkeypatch):
    """The hub cannot be reached, and nobody waits to find that out."""
    asked = []

    def unreachable(source):
        asked.append(source)
        raise InputError(f"{source.name} cannot be read: no network")

    monkeypatch.setattr(resolve, "content_digest", unreachable)
    monkeypatch.setattr(resolve, "resolve_model", lambda model, download: None)
    return asked


@pytest.mark.parametrize(("profile", "parameters"), [("qwen3-8b", "8,190.7M"), ("llama3.1-8b", "8,030.3M")])
def test_the_8b_profiles_are_planned_without_network_and_model(no_hub, tmp_path, profile, parameters):
    plan = make_plan(SpotConfig.from_profile(profile, store=str(tmp_path / "store")))
    assert set(what_happens(plan).values()) == {"to do"}
    assert set(what_happens(plan)) >= {"rollout", "filter", "rectify", "train", "evaluate"}
    notes = " ".join(plan.notes)
    assert "not on this machine" in notes
    assert "no network" in notes
    assert parameters in plan.memory
    assert "gemini-2.5-pro, about $" in dict(plan.figures)["oracle"]
    assert "boxed" in plan.prompt
    assert plan.text()
    assert plan.markdown()
    assert len(no_hub) == 1
    assert not (tmp_path / "store").exists()


def test_an_8b_profile_is_planned_on_a_machine_that_never_saw_it(tmp_path):
    program = (
        "import sys\nfrom spot_core.config.spot import SpotConfig\nfrom spot_core.pipeline.plan import make_plan\n"
        "print(make_plan(SpotConfig.from_profile('qwen3-8b', store=sys.argv[1])).text())"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", program, str(tmp_path / "store")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert "Qwen/Qwen3-8B is not on this machine" in done.stdout
    assert not (tmp_path / "store").exists()


def test_each_source_is_read_once_for_its_key(configure, monkeypatch):
    run_stages(configure(), "one")
    sources = []
    real = resolve.content_digest
    monkeypatch.setattr(resolve, "content_digest", lambda source: sources.append(source) or real(source))
    make_plan(configure())
    assert len(sources) == len(set(sources)) == 2


def test_a_missing_question_file_fails_the_plan(configure, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        make_plan(configure(questions={"kind": "file", "path": str(tmp_path / "nothing.jsonl")}))


def test_imported_responses_leave_out_questions_and_rollout_tokens(configure, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"question": "Compute 5+5-4.", "answer": "6", "response": "Answer: 7"}\n')
    source = {"kind": "file", "path": str(path), "columns": {"response": "response"}}
    plan = make_plan(configure(questions=source))
    assert "questions" not in what_happens(plan)
    assert "rollout tokens" not in dict(plan.figures)
