import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spot_core.config.questions import (
    ColumnMapping,
    FileQuestions,
    GeneratorQuestions,
    HubQuestions,
    QuestionSource,
)
from spot_core.datasets import Questions, content_digest, question_id, read_questions
from spot_core.errors import InputError

GOOD = {"question": "1+1?", "answer": "2"}


def write(path: Path, *lines: Any) -> Path:
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return path


def read(path: Path, **settings: Any) -> Questions:
    return read_questions(FileQuestions(path=str(path), **settings))


def reasons(questions: Questions) -> dict[int, str]:
    return {rejected["line"]: rejected["reason"] for rejected in questions.rejected}


def test_usable_rows_have_the_columns_of_the_contract(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"id": 7, **GOOD})
    questions = read(path, columns=ColumnMapping(source_id="id"))
    assert questions.rows == [
        {
            "question_id": question_id("1+1?", "2"),
            "source": "q.jsonl",
            "source_id": "7",
            "checker": None,
            "metadata": None,
            **GOOD,
        }
    ]
    assert questions.rejected == []


def test_rows_can_name_their_checker_and_what_it_needs(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {**GOOD, "kind": "numeric", "meta": {"b": 1, "a": [2]}},
        {**GOOD, "question": "2?", "meta": '{"a": "ü"}'},
        {**GOOD, "question": "3?", "kind": "magic"},
        {**GOOD, "question": "4?", "meta": "[1]"},
        {**GOOD, "question": "5?", "meta": "{"},
    )
    found = read(path, columns=ColumnMapping(checker="kind", metadata="meta"))
    assert [(row["checker"], row["metadata"]) for row in found.rows] == [
        ("numeric", '{"a": [2], "b": 1}'),
        (None, '{"a": "ü"}'),
    ]
    said = reasons(found)
    assert said[3].startswith("unknown checker: kind = 'magic': there is no such checker; there are math, ")
    assert said[4] == "metadata is no JSON object: list"
    assert said[5].startswith("metadata is no JSON: ")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "broken', "broken JSON"),
        (b'{"question": "\xff", "answer": "1"}', "not UTF-8: byte 0xff"),
        (b"[1, 2]", "not a JSON object: list"),
        (b"[" * 100_000, "broken JSON: nested too deep"),
        ({"question": "q"}, "missing answer"),
        ({"question": "q", "answer": None}, "missing answer"),
        ({"question": "  ", "answer": "1"}, "empty question"),
        ({"question": "q", "answer": " "}, "empty answer"),
        ({"question": ["q"], "answer": "1"}, "question is not text: list"),
        ({"question": [], "answer": "1"}, "question is not text: list"),
        (
            {
                "question": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                "answer": "1",
            },
            "question is a conversation of 2 messages: name the one to ask as the column, such as 'question.1.content'",
        ),
        ({"question": "q", "answer": []}, "answer is neither text nor a number: list"),
        (
            {"question": "q", "answer": [{"a": 1, "b": 2}]},
            "answer is neither text nor a number: dict {'a': 1, 'b': 2}; name the one that counts as the column, such "
            "as 'answer.0.a'",
        ),
        (
            {"question": "q", "answer": ["1", "2"]},
            "answer is neither text nor a number: list ['1', '2']; name",
        ),
        ({"question": "q", "answer": True}, "answer is neither text nor a number: bool"),
        ({"question": "q", "answer": float("nan")}, "answer is neither text nor a number: float nan"),
        ({"question": "q\0", "answer": "1"}, "NUL byte: in question"),
        ({"question": "q", "answer": "\ud800"}, "not UTF-8: answer has the invalid code"),
        (GOOD, "duplicate: the same as line 1"),
    ],
)
def test_bad_row_is_set_aside_with_its_line_and_the_rest_is_read(
    tmp_path: Path, line: Any, reason: str
) -> None:
    path = write(tmp_path / "q.jsonl", GOOD, b"", line, {"question": "2+2?", "answer": 4})
    questions = read(path)
    assert [row["answer"] for row in questions.rows] == ["2", "4"]
    assert list(reasons(questions)) == [3]
    assert questions.rejected[0]["reason"].startswith(reason)
    assert questions.rejected[0]["file"] == str(path)
    assert len(questions.rejected[0]["content"].encode()) <= 2_000


@pytest.mark.parametrize("answer", ["7", 7, ["7"], {"value": 7}, {"targets": [" 7 "]}, [{"value": [7]}]])
@pytest.mark.parametrize("question", ["q", [{"role": "user", "content": "q"}]])
def test_one_value_in_a_list_or_an_object_is_that_value(tmp_path: Path, question: Any, answer: Any) -> None:
    (row,) = read(write(tmp_path / "q.jsonl", {"question": question, "answer": answer})).rows
    assert (row["question"], row["answer"]) == ("q", "7")


@pytest.mark.parametrize(("reason", "kept"), [("stop", True), ("length", False), (None, False)])
def test_an_empty_response_counts_only_where_it_ended_by_itself(
    tmp_path: Path, reason: str | None, kept: bool
) -> None:
    rows = [{"question": "1?", "answer": 1, "r": ""}, {"question": "2?", "answer": 2, "r": "2"}]
    columns = {"response": "r", "finish_reason": reason and "end"}
    path = write(tmp_path / "q.jsonl", *(row | {"end": reason} for row in rows))
    found = read(path, columns=ColumnMapping(**columns))
    assert [row["response"] for row in found.rows] == ([""] if kept else []) + ["2"]
    assert [row["reason"].partition(":")[0] for row in found.rejected] == ([] if kept else ["empty response"])


def test_numbers_are_answers_in_their_own_notation(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", *({"question": f"q{a}", "answer": a} for a in (-3, 10**30, 0.1, 2.0)))
    assert [row["answer"] for row in read(path).rows] == ["-3", str(10**30), "0.1", "2.0"]


def test_contradicting_answers_are_a_conflict_and_none_of_them_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", GOOD, {**GOOD, "answer": "3"}, {"question": "q", "answer": "1"})
    questions = read(path)
    assert [row["question"] for row in questions.rows] == ["q"]
    assert reasons(questions)[1] == "conflict: the same question has the answers '2' (line 1), '3' (line 2)"
    assert set(reasons(questions)) == {1, 2}


def test_responses_of_one_question_are_numbered_and_only_exact_repeats_are_dropped(tmp_path: Path) -> None:
    responses = ["A: 2", "A: 3", "A: 2", ""]
    path = write(tmp_path / "r.jsonl", *({**GOOD, "text": text, "why": "stop"} for text in responses))
    questions = read(path, columns=ColumnMapping(response="text", finish_reason="why"))
    assert [(row["sample"], row["response"]) for row in questions.rows] == [(0, "A: 2"), (1, "A: 3"), (2, "")]
    assert {row["finish_reason"] for row in questions.rows} == {"stop"}
    assert reasons(questions) == {3: "duplicate: the same as line 1"}
    assert read(path, columns=ColumnMapping(response="text")).rows[0]["finish_reason"] == "unknown"


def test_missing_file_names_the_absolute_path_and_what_is_near(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "questions.jsonl", GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=rf"{tmp_path}/question.jsonl does not exist: did you mean questions.jsonl"
    ):
        read(Path("question.jsonl"))
    with pytest.raises(InputError, match=f"the nearest folder that exists is {tmp_path}"):
        read(tmp_path / "nowhere" / "zzz.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "holds no rows"),
        (
            b'{"q": "1+1?", "a": 2}\n',
            r"has no column 'question', 'answer'; it has 'q', 'a'.*questions\.columns",
        ),
        (b"\xff\xfe{\x00\n", r"no usable row. Of 1 rows: not UTF-8 \(1\)"),
        (b'{"question": "", "answer": 1}\n{\n', r"empty question \(1\), broken JSON \(1\)"),
    ],
)
def test_nothing_usable_is_an_error_with_counts_and_remedy(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_csv_lines_count_quoted_newlines_and_bad_rows_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_bytes(b'question,answer\n"two\nlines",1\nshort\n"next",\xff\nlast,007\n')
    questions = read(path)
    assert [(row["question"], row["answer"]) for row in questions.rows] == [
        ("two\nlines", "1"),
        ("last", "007"),
    ]
    assert reasons(questions)[4] == "broken CSV: 1 fields where the header has 2"
    assert reasons(questions)[5].startswith("not UTF-8: answer")


def test_all_formats_hold_the_same_questions(tmp_path: Path) -> None:
    rows = [{"question": f"Frage {i} ü", "answer": str(i)} for i in range(5)]
    lines = write(tmp_path / "q.jsonl", *rows)
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "q.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    (tmp_path / "q.csv").write_text(
        "question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in rows), encoding="utf-8"
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    for name in ("q.jsonl", "q.jsonl.gz", "q.json", "q.csv", "q.parquet"):
        found = [{key: row[key] for key in ("question", "answer")} for row in read(tmp_path / name).rows]
        assert found == rows, name


def test_json_array_rows_know_their_line(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text('[\n {"question": "q", "answer": 1},\n {"question":\n "", "answer": 1}, 5]')
    assert {line: reason.partition(":")[0] for line, reason in reasons(read(path)).items()} == {
        3: "empty question",
        4: "not a JSON object",
    }


@pytest.mark.parametrize(
    ("name", "content"), [("q.json", b"[{]"), ("q.parquet", b"nope"), ("q.csv.gz", b"nope")]
)
def test_files_broken_as_a_whole_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        read(tmp_path / name)


def test_dotted_paths_and_wrapped_instructions_of_dapo(tmp_path: Path) -> None:
    before, after = "Solve it. The last line …\n\n", '\n\nRemember to put your answer after "Answer:".'
    rows = [
        {
            "prompt": [{"role": "user", "content": before + "1+1?" + after}],
            "reward_model": {"ground_truth": "2"},
        },
        {"prompt": [{"role": "user", "content": "unwrapped"}], "reward_model": {"ground_truth": "2"}},
        {"prompt": [], "reward_model": {"ground_truth": "2"}},
    ]
    columns = ColumnMapping(
        question="prompt.0.content",
        answer="reward_model.ground_truth",
        strip_prefix=before,
        strip_suffix=after,
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    for path in (write(tmp_path / "d.jsonl", *rows), tmp_path / "d.parquet"):
        questions = read(path, columns=columns)
        assert [(row["question"], row["answer"]) for row in questions.rows] == [("1+1?", "2")]
        assert [reason.partition(":")[0] for reason in reasons(questions).values()] == [
            "other wording",
            "missing question",
        ]


def test_missing_parquet_column_lists_all_columns(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"question": "q", "gold": "1"}]), tmp_path / "q.parquet")
    with pytest.raises(InputError, match="has no column 'answer'; it has 'question', 'gold'"):
        read(tmp_path / "q.parquet")


def test_limit_and_shuffle_are_a_pure_function_of_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", *({"question": f"q{i}", "answer": i} for i in range(50)))
    chosen = [row["answer"] for row in read(path, limit=10, shuffle_seed=3).rows]
    assert chosen == [row["answer"] for row in read(path, limit=10, shuffle_seed=3).rows]
    assert chosen != [row["answer"] for row in read(path, limit=10, shuffle_seed=4).rows]
    assert [row["answer"] for row in read(path, limit=2).rows] == ["0", "1"]


def test_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "b.jsonl", GOOD)
    digests = [content_digest(FileQuestions(path=str(path))) for path in (first, second)]
    assert digests[0] == digests[1]
    write(second, {**GOOD, "answer": "3"})
    assert content_digest(FileQuestions(path=str(second))) != digests[0]
    made = [content_digest(GeneratorQuestions(name="x", count=5, seed=seed)) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_local_folder_is_read_as_a_hub_data_set(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.jsonl", GOOD, GOOD)
    source = HubQuestions(name=str(folder))
    assert [row["answer"] for row in read_questions(source).rows] == ["2"]
    assert content_digest(source) == content_digest(source)
    with pytest.raises(InputError, match=r"/ nosplit cannot be read: .*questions\.name"):
        read_questions(HubQuestions(name=str(folder), split="nosplit"))
    with pytest.raises(InputError, match="has no column 'gold'; it has 'question', 'answer'"):
        read_questions(HubQuestions(name=str(folder), columns=ColumnMapping(answer="gold")))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4))
def test_question_ids_tell_where_question_ends_and_answer_begins(texts: list[str]) -> None:
    first, second, third, fourth = texts
    same = (first, second) == (third, fourth)
    assert (question_id(first, second) == question_id(third, fourth)) == same
    assert question_id("ab", "c") != question_id("a", "bc")


def test_source_settings_are_checked_at_submission() -> None:
    union = TypeAdapter(QuestionSource)
    assert isinstance(
        union.validate_python({"kind": "generator", "name": "g", "count": 3}), GeneratorQuestions
    )
    for wrong in (
        {"kind": "file", "path": "questions.xlsx"},
        {"kind": "file", "path": "q.jsonl", "limit": 0},
        {"kind": "file", "path": "q.jsonl", "colums": {}},
        {"kind": "file", "path": "q.jsonl", "columns": {"finish_reason": "why"}},
        {"kind": "web"},
    ):
        with pytest.raises(ValidationError):
            union.validate_python(wrong)


SHARED = os.environ.get("SPOT_SHARED_DATA", "")


@pytest.mark.skipif(not SHARED, reason="SPOT_SHARED_DATA does not name the folder with the shared data files")
def test_shared_files_are_read_whole() -> None:
    for name, rows in (("gsm8k_train_500", 500), ("math500_150", 150), ("aime24", 30), ("dapo_math_20", 20)):
        questions = read(Path(SHARED, f"{name}.jsonl"), columns=ColumnMapping(source_id="id"))
        assert (len(questions.rows), questions.rejected) == (rows, [])
    imported = read(
        Path(SHARED, "gsm8k_model_solutions_400.jsonl"), columns=ColumnMapping(response="response")
    )
    assert len(imported.rows) + len(imported.rejected) == 400
    prefix = (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: \\boxed{$Answer} where $Answer is the answer to the problem.\n\n"
    )
    suffix = '\n\nRemember to put your answer on its own line after "Answer:".'
    columns = ColumnMapping(question="prompt", strip_prefix=prefix, strip_suffix=suffix)
    plain = read(Path(SHARED, "dapo_math_20.jsonl")).rows
    assert read(Path(SHARED, "dapo_math_20.jsonl"), columns=columns).rows == plain
