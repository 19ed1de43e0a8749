"""The file of the paper's own pipeline comes in as pairs, checked and measured as if an Oracle had just made them."""

import json

import pyarrow.parquet as pq
import pytest

from spot_core.errors import InputError
from spot_core.export import export_pairs
from spot_core.pipeline import stages
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import run_stages

START, END = "=== CORRECTED STARTED ===", "=== CORRECTED ENDED ==="


def official(index, question, wrong, corrected, answer, **more):
    """A row as scripts/correct_errors_parallel.py of Visual-AI/SPoT writes it."""
    return {
        "index": f"{index:08d}-uuid",
        "prompt": question,
        "question": question,
        "original_answer": wrong,
        "original_extracted": "",
        "ground_truth": answer,
        "gemini_thinking": "**Considering the sum**\n\nI add the numbers.",
        "gemini_corrected_answer": corrected,
        "gemini_extracted_answer": answer if isinstance(answer, str) else None,
        "is_correct": True,
        "data_source": "math_dapo",
        "ability": "MATH",
        "prompt_mode": "correction",
    } | more


def solution(*steps):
    return "\n".join([*steps, f"Answer: \\boxed{{{steps[-1].partition('=')[2]}}}"])


def chain(start):
    """A question about start+8-8, a response that forgets the carry, and the right one."""
    return (
        f"Compute {start}+8-8.",
        solution(f"{start}+8={start - 2}", f"{start - 2}-8={start - 10}"),
        solution(f"{start}+8={start + 8}", f"{start + 8}-8={start}"),
    )


def rows():
    made = []
    for number, start in enumerate(range(44, 50)):
        question, wrong, right = chain(start)
        replies = [
            f"{START}\n{right}\n{END}",
            f"\n\n**{START}**\n\n{right}\n\n**{END}**\n\nI kept the style.",
            f"\n\n{right}",  # as the official script leaves what came without markers
            f"I add again.</think>\n\n``{START}''\n{right}\n``{END}''",
            f"=== CORRECTION START ===\n{right}",
            right,
        ]
        made.append(official(number, question, wrong, replies[number], str(start)))
    made[3] |= {"ground_truth": ["47"], "question": [{"role": "user", "content": "Compute 47+8-8."}]}
    made[4] |= {"ground_truth": {"target": 48}}
    made[5] |= {
        "is_correct": False,
        "gemini_extracted_answer": None,
    }  # what the file says of itself counts for nothing
    question, wrong, right = chain(36)
    large = solution("36-8=28", "28+8=36")
    made += [official(6, question, wrong, f"{START}\n{text}\n{END}", "36") for text in (large, right, large)]
    question, wrong, _ = chain(37)
    made.append(official(7, question, wrong, f"{START}\n{wrong[:-4]}{{99}}\n{END}", "37"))
    question, wrong, right = chain(38)
    made.append(official(8, question, wrong, f"{END}\n{right}\n{START}", "38"))
    question, wrong, right = chain(39)
    made.append(official(9, question, wrong, f"{START}\n\\boxed{{39}}\n{END}", "39"))
    question, wrong, right = chain(26)
    made.append(official(10, question, wrong, None, "26"))
    question, wrong, right = chain(27)
    made.append(
        official(11, question, right, f"{START}\n{right}\n{END}", "27.0")
    )  # no error but for string equality
    question, wrong, right = chain(28)
    made.append(official(12, question, "", right, "28", prompt_mode="direct"))
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gemini_corrected.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
    path.write_text("\n".join([*lines, lines[0][:200]]))  # the last line was cut off by a crash
    return path


@pytest.fixture
def imported(configure, file):
    def configured(*, questions=file, corrections=file):
        columns = {"question": "question", "answer": "ground_truth", "response": "original_answer"}
        return configure(
            questions={"kind": "file", "path": str(questions), "columns": columns},
            rectify={"oracle": {"kind": "imported", "path": str(corrections)}},
        )

    return configured


def by_question(run):
    return {row["question"]: row for row in stages.rectify_failures(run).rows_as_dicts()}


def test_the_official_file_becomes_pairs(fake, imported):
    run = run_stages(imported(), "one")
    found = by_question(run)
    assert fake.asked == []
    assert {question: row["status"] for question, row in found.items()} == {
        **{f"Compute {start}+8-8.": "accepted" for start in (36, *range(44, 50))},
        "Compute 37+8-8.": "wrong_answer",
        "Compute 38+8-8.": "unparseable",
        "Compute 39+8-8.": "too_different",
        "Compute 26+8-8.": "refused",
    }
    for start in (36, *range(44, 50)):
        question, wrong, right = chain(start)
        row = found[question]
        assert (row["response"], row["rectified"], row["answer"]) == (wrong, right, str(start))
        assert 0 < row["change_ratio"] <= 0.6
        assert row["shared_prefix_tokens"] > 3
        assert row["oracle"] == "imported"
        assert not set(row["flags"]) & {"retokenized", "inexact_tokens"}
    several = found["Compute 36+8-8."]["history"]
    assert [entry["status"] for entry in several][-1] == "accepted"
    assert len(several) == 2
    checked = list(stages.check_answers(run).rows_as_dicts())
    assert [row["question"] for row in checked if row["verdict"] == "correct"] == ["Compute 27+8-8."]
    rejected = pq.read_table(stages.prepare(run)[-1].folder / "rejected.parquet").to_pylist()
    reasons = [(row["line"], row["reason"].partition(":")[0]) for row in rejected]
    assert reasons == [(8, "duplicate"), (9, "duplicate"), (15, "empty response"), (16, "broken JSON")]


def test_what_the_file_says_decides_wherever_it_lies(imported, file, tmp_path):
    def key(name, **files):
        return run_stages(imported(**files), name).record.used["rectify"].key

    first = key("one")
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(file.read_bytes())
    assert key("two", corrections=moved) == first
    with moved.open("a") as more:
        more.write("\n\n")
    assert key("three", corrections=moved) != first


def test_a_file_that_cannot_be_used_fails_before_anything_is_asked(fake, configure, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    for name, said in (("none.jsonl", "does not exist"), ("other.jsonl", "has no column 'original_answer'")):
        oracle = {"kind": "imported", "path": str(tmp_path / name)}
        for given in (oracle, {"kind": "chain", "oracles": [{"kind": "calculator"}, oracle]}):
            with pytest.raises(InputError, match=said):
                stages.prepare(Run.create(configure(rectify={"oracle": given}), f"{name}-{given['kind']}"))
    assert fake.asked == []


def test_exported_pairs_come_back_as_the_same_pairs(fake, configure, imported, tmp_path):
    first = run_stages(imported(), "one")
    exported = export_pairs(first, tmp_path / "out", form="jsonl").folder / "train.jsonl"
    card = (exported.parent / "README.md").read_text().replace("\\", "")
    assert "| Oracle | imported |" in card
    assert "| questions | gemini_corrected.jsonl |" in card
    assert str(tmp_path) not in card
    columns = {"question": "question", "answer": "answer", "response": "rejected.0.content"}
    corrections = {"question": "question", "response": "rejected.0.content", "rectified": "chosen.0.content"}
    again = configure(
        questions={"kind": "file", "path": str(exported), "columns": columns},
        rectify={"oracle": {"kind": "imported", "path": str(exported), "columns": corrections}},
    )
    second = by_question(run_stages(again, "two"))
    accepted = {q: row for q, row in by_question(first).items() if row["status"] == "accepted"}
    same = ("question_id", "response_token_ids", "rectified_token_ids", "change_ratio", "status")
    assert {q: [row[name] for name in same] for q, row in second.items()} == {
        q: [row[name] for name in same] for q, row in accepted.items()
    }
