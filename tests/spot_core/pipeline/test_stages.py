"""From questions to pairs in one process: what is there is reused, what is missing is made, nothing else."""

import shutil
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from spot_core.errors import ConfigError, EngineError, InputError
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from spot_core.store import schemas
from tests.spot_core.pipeline.miniature import QUESTIONS, Student, pretend_training, reused, run_stages

STAGES = ("questions/chains", "questions", "rollout", "filter", "rectify")


def artifact(run, name):
    used = run.record.used[name]
    return run.store.folder(_recipe(run, name), used.generation)


def _recipe(run, name):
    resolver = Resolver(run)
    nodes = [*resolver.inputs(), resolver.rollout(), resolver.filter(), resolver.rectify()]
    return next(node.recipe for node in nodes if node.name == name)


def rows(run, name):
    used = run.record.used[name]
    folder = run.store.root / used.stage / used.key / str(used.generation)
    return pq.read_table(sorted(folder.glob("part-*.parquet"))).to_pylist()


def test_failures_become_pairs(fake, configure):
    run = run_stages(configure(), "one")
    assert tuple(run.record.used) == STAGES
    responses = {row["question_id"]: row for row in rows(run, "rollout")}
    assert len(responses) == QUESTIONS
    checked = rows(run, "filter")
    failures = {row["question_id"] for row in checked if row["verdict"] == "incorrect"}
    assert 5 < len(failures) < QUESTIONS
    pairs = rows(run, "rectify")
    assert {row["question_id"] for row in pairs} == failures
    for row in pairs:
        assert row["status"] == "accepted"
        assert 0 <= row["change_ratio"] <= 0.6
        assert row["rectified"] != row["response"]
        assert row["response_token_ids"] == responses[row["question_id"]]["response_token_ids"]
        shared = row["shared_prefix_tokens"]
        assert row["rectified_token_ids"][:shared] == row["response_token_ids"][:shared]
        assert row["rectified"].endswith(f"\\boxed{{{row['answer']}}}")


def test_what_the_server_sampled_is_kept_id_by_id(fake, configure):
    run = run_stages(configure(), "one")
    sent = {body["seed"]: body for body in fake.answered}
    for row in rows(run, "rollout"):
        body = sent[row["seed"]]
        assert row["prompt_token_ids"] == body["prompt"]
        text, ids, finish_reason = fake.complete(body)
        assert (row["response"], row["response_token_ids"], row["finish_reason"]) == (
            text,
            ids,
            finish_reason,
        )
        assert row["ids_sampled"]


def test_every_artifact_fits_the_contract(configure):
    run = run_stages(configure(), "one")
    for used in run.record.used.values():
        parts = list((run.store.root / used.stage / used.key / "0").glob("part-*.parquet"))
        assert parts
        for part in parts:
            assert pq.read_schema(part).equals(schemas.BY_STAGE[used.stage])
        table = pq.read_table(parts)
        keys = [name for name in ("question_id", "sample") if name in table.column_names]
        primary = list(zip(*(table[key].to_pylist() for key in keys), strict=True))
        assert primary == sorted(set(primary))


def test_a_second_run_of_the_same_settings_asks_nothing(fake, configure):
    first = run_stages(configure(), "one")
    fake.asked.clear()
    second = run_stages(configure(), "two")
    assert fake.asked == []
    assert all(reused(second).values())
    assert not any(reused(first).values())
    assert {n: u.digest for n, u in first.record.used.items()} == {
        n: u.digest for n, u in second.record.used.items()
    }


def test_what_is_there_is_found_without_loading_an_engine_or_a_tokenizer(configure):
    run = run_stages(configure(evaluate={"datasets": []}), "one")
    pretend_training(run)
    code = f"""
import sys
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
run = Run.open({str(run.store.root)!r}, "one")
stages.prepare(run)
assert all(Resolver(run).complete(stage) for stage in ("rollout", "filter", "rectify", "train"))
print(sorted({{"torch", "transformers", "vllm"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_going_on_with_a_run_keeps_saying_what_it_made_itself(configure):
    run_stages(configure(), "one")
    assert not any(reused(run_stages(configure(), "one")).values())


def test_settings_of_speed_alone_change_no_key(fake, configure):
    run_stages(configure(), "one")
    fake.asked.clear()
    engine = configure().engine.model_dump() | {"concurrency": 1, "request_timeout_seconds": 9}
    speed = {
        "filter": {"workers": 2},
        "train": {"ranks": 1},
        "dispatch": {"stages": "deployments", "gpu_limit": None},
    }
    other = configure(engine=engine, **speed)
    assert all(reused(run_stages(other, "two")).values())
    assert fake.asked == []


def test_another_gamma_rectifies_again_and_samples_nothing(fake, configure):
    run_stages(configure(), "one")
    fake.asked.clear()
    second = run_stages(configure(rectify={"gamma": 0.3}), "two")
    assert fake.asked == []
    assert reused(second) == dict.fromkeys(STAGES, True) | {"rectify": False}


def test_another_sampling_seed_does_everything_again_but_the_questions(fake, configure):
    first = run_stages(configure(), "one")
    second = run_stages(configure(rollout={"max_new_tokens": 96, "seed": 1}), "two")
    assert len(fake.answered) == 2 * QUESTIONS
    assert reused(second) == dict.fromkeys(STAGES, False) | {"questions/chains": True, "questions": True}
    assert {r["seed"] for r in rows(first, "rollout")}.isdisjoint(r["seed"] for r in rows(second, "rollout"))


@pytest.mark.parametrize("name", STAGES)
def test_a_deleted_artifact_is_made_again_and_no_other(fake, configure, name):
    first = run_stages(configure(), "one")
    fake.asked.clear()
    shutil.rmtree(artifact(first, name).parent)
    second = run_stages(configure(), "two")
    assert reused(second) == dict.fromkeys(STAGES, True) | {name: False}
    assert second.record.used[name].digest == first.record.used[name].digest
    assert len(fake.asked) == (QUESTIONS if name == "rollout" else 0)


@pytest.mark.parametrize("name", ["rollout", "rectify"])
def test_a_damaged_part_is_made_again_with_the_same_bytes(configure, name):
    first = run_stages(configure(), "one")
    part = artifact(first, name) / "part-00000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    second = run_stages(configure(), "two")
    assert reused(second) == dict.fromkeys(STAGES, True) | {name: False}
    assert part.read_bytes() == whole


def test_after_an_error_in_the_middle_only_what_is_missing_is_asked(fake, configure):
    run = Run.create(configure(), "one")
    stages.prepare(run)
    refused = set()

    def refuse_after_ten(body, before):
        if len(fake.answered) < 10:
            return None
        refused.add(body["seed"])
        return "400"

    fake.fault = refuse_after_ten
    with pytest.raises(EngineError, match="400"):
        stages.roll_out(run)
    assert not Resolver(run).complete("rollout")
    answered = Counter(body["seed"] for body in fake.answered)
    fake.fault = lambda body, before: None
    stages.roll_out(run)
    again = Counter(body["seed"] for body in fake.answered) - answered
    # An answer on its way when the stage failed may be asked for again; nothing that was kept is.
    assert len(again) <= QUESTIONS - 10 + 4
    assert refused <= set(again)
    assert len(rows(run, "rollout")) == QUESTIONS


def test_a_refresh_makes_one_new_generation_however_often_the_run_goes_on(fake, configure):
    first = run_stages(configure(), "one")
    for _ in range(3):
        second = run_stages(configure(), "two", refresh=("rollout",))
    used = second.record.used
    assert used["rollout"].generation == 1
    assert len(fake.answered) == 2 * QUESTIONS
    # The same seeds gave the same responses: nothing after the rollout has another key.
    assert used["rollout"].digest == first.record.used["rollout"].digest
    assert used["filter"].reused
    assert run_stages(configure(), "three").record.used["rollout"].generation == 1


def test_a_run_that_exists_can_be_told_to_refresh_once(fake, configure):
    run_stages(configure(), "one")
    for _ in range(2):
        again = run_stages(configure(), "one", refresh=("rollout",))
    assert again.record.used["rollout"].generation == 1
    assert len(fake.answered) == 2 * QUESTIONS


def test_a_refreshed_rollout_with_other_content_gives_later_stages_other_keys(fake, configure):
    first = run_stages(configure(), "one")
    fake.complete = Student(rate=0.9)
    second = run_stages(configure(), "two", refresh=("rollout",))
    assert second.record.used["rollout"].key == first.record.used["rollout"].key
    for name in ("filter", "rectify"):
        assert second.record.used[name].key != first.record.used[name].key
        assert second.record.used[name].generation == 0


def test_a_stage_before_its_input_is_refused_with_a_remedy(configure):
    run = Run.create(configure(), "one")
    stages.prepare(run)
    with pytest.raises(ConfigError, match="the stage before it"):
        stages.check_answers(run)
    with pytest.raises(ConfigError, match="spot/full"):
        stages.rectify_failures(run)
    with pytest.raises(ConfigError, match="run its stage 'train' first"):
        stages.evaluate_models(run)


def test_without_failures_there_is_nothing_to_train_on_and_it_says_why(fake, configure):
    fake.complete = Student(rate=0.0)
    run = run_stages(configure(), "one")
    reason = Resolver(run).nothing_to_train_on()
    assert reason is not None
    assert "no mistake" in reason
    assert f"none of {QUESTIONS} responses" in reason
    assert Resolver(run).stage("train") == []
    assert Resolver(run).complete("evaluate")


def test_with_no_pair_accepted_there_is_nothing_to_train_on_and_it_says_why(fake, configure):
    fake.complete = Student(rate=0.0, off_by=1)
    run = run_stages(configure(rectify={"gamma": 0.001}), "one")
    reason = Resolver(run).nothing_to_train_on()
    assert reason is not None
    assert "no pair was accepted" in reason
    assert "too_different" in reason
    assert "gamma" in reason


def test_with_pairs_or_before_they_are_known_training_is_not_skipped(configure):
    run = Run.create(configure(), "one")
    assert Resolver(run).nothing_to_train_on() is None
    run = run_stages(configure(), "one")
    assert Resolver(run).nothing_to_train_on() is None
    assert [node.name for node in Resolver(run).stage("train")] == ["reference", "train"]


def test_a_prompt_that_the_chat_template_refuses_stops_before_anything_is_asked(fake, configure):
    run = Run.create(configure(prompt={"system": "You are a calculator."}), "one")
    with pytest.raises(InputError, match=r"prompt\.system"):
        stages.prepare(run)
    assert fake.asked == []


def test_what_the_machine_cannot_train_is_refused_before_anything_is_asked(fake, configure):
    config = configure(train={"cpu_offload": True, "zero_stage": 2})
    with pytest.raises(ConfigError, match=r"cpu_offload.*without a GPU"):
        stages.prepare(Run.create(config, "one"))
    stages.prepare(Run.create(config, "two"), elsewhere=("train",))  # the stage itself says so
    assert fake.asked == []
