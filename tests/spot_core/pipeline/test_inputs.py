"""Questions are kept apart from what the policy is measured on or shown; responses of a user's own are taken over."""

import json

import pyarrow.parquet as pq
import pytest

from spot_core.demo import STUDENT_PATH, generate
from spot_core.errors import ConfigError, InputError
from spot_core.models import load_tokenizer
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.report.stage_pages import render_inputs
from spot_core.runs import Run

CHAINS = generate("demo-chains", count=6, seed=3, split="train")
HELD_OUT = generate("demo-chains", count=2, seed=0, split="evaluation")  # the first two of `configure`


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def questions_config(configure, tmp_path, rows, **overrides):
    return configure(questions={"kind": "file", "path": write(tmp_path / "q.jsonl", rows)}, **overrides)


def prepared(config, name="one"):
    run = Run.create(config, name)
    return run, stages.prepare(run)


def test_questions_of_an_evaluation_set_are_set_aside(configure, tmp_path):
    copied = [row | {"question": f"  {row['question'].upper()} "} for row in HELD_OUT]
    _, artifacts = prepared(questions_config(configure, tmp_path, [*CHAINS, *copied]))
    asked = {row["question"] for row in artifacts[-1].rows_as_dicts()}
    assert asked == {row["question"] for row in CHAINS}
    rejected = pq.read_table(artifacts[-1].folder / "rejected.parquet").to_pylist()
    assert [row["content"] for row in rejected] == [row["question"].strip() for row in copied]
    assert all("evaluation set 'chains'" in row["reason"] for row in rejected)
    assert artifacts[-1].statistics["rejected"] == 2


def test_questions_that_the_prompt_shows_are_set_aside(configure, tmp_path):
    shown = CHAINS[0]
    config = questions_config(
        configure,
        tmp_path,
        CHAINS,
        prompt={"examples": [{"question": shown["question"], "answer": "Answer: 7"}]},
    )
    _, artifacts = prepared(config)
    assert artifacts[-1].rows == len(CHAINS) - 1
    (rejected,) = pq.read_table(artifacts[-1].folder / "rejected.parquet").to_pylist()
    assert "prompt.examples" in rejected["reason"]


def test_when_every_question_is_held_out_it_says_so(configure, tmp_path):
    with pytest.raises(InputError, match="all 2 also stand in evaluation sets"):
        prepared(questions_config(configure, tmp_path, HELD_OUT))


STORY = "A train with 12 coaches leaves the station at noon and meets a slower one on its way to the sea."


def test_questions_of_a_set_that_is_only_held_out_are_set_aside(configure, tmp_path):
    rows = [*CHAINS, {"question": f"{STORY} When?", "answer": "1"}]
    path = write(tmp_path / "exam.jsonl", [{"question": f"{STORY} Where?", "answer": "2"}])
    exam = {"name": "exam", "questions": {"kind": "file", "path": path}}
    run, artifacts = prepared(questions_config(configure, tmp_path, rows, decontamination={"sets": [exam]}))
    assert list(run.record.used) == ["questions/chains", "questions/exam", "questions"]
    assert artifacts[-1].statistics["set_aside"] == {"held_out": 1}
    (rejected,) = pq.read_table(artifacts[-1].folder / "rejected.parquet").to_pylist()
    assert "evaluation set 'exam': a train with 12 coaches" in rejected["reason"]
    assert "1 (held\\_out 1)" in render_inputs(run, artifacts)


def test_only_what_decides_which_questions_are_left_changes_their_key(configure, tmp_path):
    def key(name, held_out_rows=HELD_OUT, **settings):
        path = write(tmp_path / "exam.jsonl", held_out_rows)
        settings = {"sets": [{"name": "exam", "questions": {"kind": "file", "path": path}}]} | settings
        return prepared(questions_config(configure, tmp_path, CHAINS, decontamination=settings), name)[1][
            -1
        ].key

    first = key("one")
    assert key("two", words=8) != first
    assert key("three", boilerplate_share=0.5) != first
    assert key("four", held_out_rows=HELD_OUT[:1]) != first
    off = key("five", enabled=False)
    assert off != first
    assert key("six", enabled=False, words=8, held_out_rows=HELD_OUT[:1]) == off


def test_without_decontamination_evaluation_questions_stay(configure, tmp_path):
    config = questions_config(configure, tmp_path, [*CHAINS, *HELD_OUT], decontamination={"enabled": False})
    assert prepared(config)[1][-1].rows == len(CHAINS) + len(HELD_OUT)


def test_near_duplicates_leave_the_questions_but_not_an_evaluation_set(configure, tmp_path):
    rows = [{"question": f"{STORY} {end}", "answer": "3"} for end in ("When is it?", "When is that?")]
    source = {"kind": "file", "path": write(tmp_path / "q.jsonl", rows)}
    exam = {"name": "exam", "questions": source}
    config = configure(questions=source, evaluate={"datasets": [exam]}, decontamination={"enabled": False})
    _, artifacts = prepared(config)
    assert [a.rows for a in artifacts] == [2, 1]
    assert artifacts[-1].statistics["set_aside"] == {"near_duplicate": 1}
    kept = {**source, "near_duplicates": 1}
    other = configure(questions=kept, evaluate={"datasets": [exam]}, decontamination={"enabled": False})
    _, again = prepared(other, "two")
    assert again[-1].rows == 2
    assert again[0].key == artifacts[0].key


def test_unusable_rows_are_set_aside_with_line_and_reason(configure, tmp_path):
    rows = [CHAINS[0], {"question": "no answer"}, CHAINS[1], CHAINS[0]]
    _, artifacts = prepared(questions_config(configure, tmp_path, rows))
    rejected = pq.read_table(artifacts[-1].folder / "rejected.parquet").to_pylist()
    assert [row["line"] for row in rejected] == [2, 4]
    assert artifacts[-1].rows == 2


def test_a_source_without_a_usable_row_fails_before_anything_is_asked(fake, configure, tmp_path):
    with pytest.raises(InputError):
        prepared(questions_config(configure, tmp_path, [{"question": "no answer"}]))
    assert fake.asked == []


def test_the_files_content_decides_wherever_it_lies(configure, tmp_path):
    _, artifacts = prepared(questions_config(configure, tmp_path, CHAINS))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    second, others = prepared(questions_config(configure, moved, CHAINS), "two")
    assert others[-1].key == artifacts[-1].key
    assert second.record.used["questions"].reused
    _, changed = prepared(questions_config(configure, moved, CHAINS[:-1]), "three")
    assert changed[-1].key != artifacts[-1].key


# --- responses that exist already ----------------------------------------------------------------------------

RESPONSES = [
    {"q": CHAINS[0]["question"], "a": CHAINS[0]["answer"], "r": "5+5=11\nAnswer: \\boxed{99}", "end": "stop"},
    {"q": CHAINS[0]["question"], "a": CHAINS[0]["answer"], "r": "Answer: \\boxed{98}", "end": "length"},
    {
        "q": CHAINS[1]["question"],
        "a": CHAINS[1]["answer"],
        "r": f"Answer: \\boxed{{{CHAINS[1]['answer']}}}",
        "end": "stop",
    },
    {"q": HELD_OUT[0]["question"], "a": HELD_OUT[0]["answer"], "r": "Answer: \\boxed{1}", "end": "stop"},
]


def import_config(configure, tmp_path, *, finish_reason="end"):
    columns = {"question": "q", "answer": "a", "response": "r", "finish_reason": finish_reason}
    path = write(tmp_path / "responses.jsonl", RESPONSES)
    return configure(questions={"kind": "file", "path": path, "columns": columns})


def test_imported_responses_begin_at_the_filter(fake, configure, tmp_path):
    run, artifacts = prepared(import_config(configure, tmp_path))
    assert [a.stage for a in artifacts] == ["questions", "rollout"]
    tokenizer = load_tokenizer(STUDENT_PATH)
    rows = list(artifacts[-1].rows_as_dicts())
    assert len(rows) == 3
    for row in rows:
        given = next(r for r in RESPONSES if r["r"] == row["response"])
        assert (row["ids_sampled"], row["seed"]) == (False, None)
        assert row["finish_reason"] == given["end"]
        ends = row["response_token_ids"][-1] == tokenizer.eos_token_id
        assert ends == (given["end"] == "stop")
        assert tokenizer.decode(row["response_token_ids"], skip_special_tokens=True) == row["response"]
    assert sorted(row["sample"] for row in rows if row["question"] == CHAINS[0]["question"]) == [0, 1]
    rejected = pq.read_table(artifacts[-1].folder / "rejected.parquet").to_pylist()
    assert [row["content"] for row in rejected] == [HELD_OUT[0]["question"]]

    checked = stages.check_answers(run)
    verdicts = {row["response"]: row["verdict"] for row in checked.rows_as_dicts()}
    assert list(verdicts.values()).count("correct") == 1
    assert verdicts["Answer: \\boxed{98}"] == "truncated"
    stages.rectify_failures(run)
    assert fake.asked == []


def test_a_response_of_which_nobody_says_how_it_ended_gets_no_end_of_turn(configure, tmp_path):
    _, artifacts = prepared(import_config(configure, tmp_path, finish_reason=None))
    end = load_tokenizer(STUDENT_PATH).eos_token_id
    for row in artifacts[-1].rows_as_dicts():
        assert row["finish_reason"] == "unknown"
        assert end not in row["response_token_ids"]


def test_an_imported_text_that_looks_like_a_special_token_stays_text(configure, tmp_path):
    tokenizer = load_tokenizer(STUDENT_PATH)
    response = f"5+5=11{tokenizer.eos_token}Answer: \\boxed{{99}}"
    rows = [{"q": CHAINS[0]["question"], "a": CHAINS[0]["answer"], "r": response}]
    columns = {"question": "q", "answer": "a", "response": "r"}
    source = {"kind": "file", "path": write(tmp_path / "r.jsonl", rows), "columns": columns}
    _, artifacts = prepared(configure(questions=source))
    (row,) = artifacts[-1].rows_as_dicts()
    assert tokenizer.eos_token_id not in row["response_token_ids"]


def test_a_lost_import_is_made_again_by_preparing(configure, tmp_path):
    run, artifacts = prepared(import_config(configure, tmp_path))
    artifacts[-1].parts[0].unlink()
    with pytest.raises(ConfigError, match="imported"):
        stages.roll_out(run)
    again = stages.prepare(run)
    assert again[-1].digest == artifacts[-1].digest
    assert stages.roll_out(run).digest == artifacts[-1].digest


def test_other_imported_responses_are_another_rollout(configure, tmp_path):
    run, _ = prepared(import_config(configure, tmp_path))
    key = Resolver(run).rollout().recipe.key
    write(tmp_path / "responses.jsonl", RESPONSES[:-1])
    assert Resolver(run).rollout().recipe.key != key
