"""Corrections of a file are found by question and response; what is wrong with the file is said with its place."""

import asyncio
import json

import pytest
from pydantic import ValidationError

from spot_core.config.imported import ImportedOracleConfig
from spot_core.config.oracle import result_settings
from spot_core.errors import InputError
from spot_core.oracles.base import Failure
from spot_core.oracles.imported import ImportedOracle, corrections_digest

ROW = {"question": "2+3?", "original_answer": "It is 6.", "gemini_corrected_answer": "It is 5."}


def write(path, *rows):
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def propose(path, question="2+3?", response="It is 6.", columns=None):
    oracle = ImportedOracle(ImportedOracleConfig(path=path, columns=columns or {}))
    failure = Failure("q", 0, question, "5", response, [], [], "unknown")
    return asyncio.run(oracle.propose(failure, earlier=(), attempt=1))


def texts(*given, **more):
    return [proposal.text for proposal in propose(*given, **more)]


def test_a_response_gets_its_own_correction(tmp_path):
    other = ROW | {"question": "2+3+0?", "gemini_corrected_answer": "It is still 5."}
    third = ROW | {"original_answer": "It is 7.", "gemini_corrected_answer": "It is now 5."}
    path = write(tmp_path / "c.jsonl", ROW, other, third)
    assert texts(path) == ["It is 5."]
    assert texts(path, question="2+3+0?") == ["It is still 5."]
    assert texts(path, response="It is 7.") == ["It is now 5."]


def test_several_corrections_of_one_response_are_all_proposed_once(tmp_path):
    rows = [
        ROW | {"gemini_corrected_answer": text} for text in ("Five. It is 5.", "It is 5.", "Five. It is 5.")
    ]
    assert texts(write(tmp_path / "c.jsonl", *rows)) == ["Five. It is 5.", "It is 5."]


def test_a_response_without_correction_is_told_from_one_under_another_question(tmp_path):
    path = write(tmp_path / "c.jsonl", ROW)
    (none,) = propose(path, response="It is 8.")
    (elsewhere,) = propose(path, question="What is 2+3?")
    assert (none.status, elsewhere.status) == ("refused", "refused")
    assert "no correction of this response" in none.reason
    assert "strip_prefix" in elsewhere.reason
    assert str(tmp_path) not in none.reason + elsewhere.reason, "where the file lies is no part of the key"


def test_instructions_around_the_question_are_taken_off_as_for_questions(tmp_path):
    path = write(tmp_path / "c.jsonl", ROW | {"question": "Solve.\n\n2+3?\nThink!"})
    assert texts(path, columns={"strip_prefix": "Solve.", "strip_suffix": "Think!"}) == ["It is 5."]


def test_columns_can_be_nested_and_a_question_a_conversation(tmp_path):
    row = {
        "q": [{"role": "user", "content": "2+3?"}],
        "pair": {"rejected": [{"content": "It is 6."}], "chosen": [{"content": "It is 5."}]},
    }
    columns = {"question": "q", "response": "pair.rejected.0.content", "rectified": "pair.chosen.0.content"}
    assert texts(write(tmp_path / "c.jsonl", row), columns=columns) == ["It is 5."]


def test_a_correction_that_is_unclear_is_unparseable_and_others_count(tmp_path):
    torn = ROW | {"gemini_corrected_answer": "=== CORRECTED ENDED ===\nIt is 5.\n=== CORRECTED STARTED ==="}
    first, second = propose(write(tmp_path / "c.jsonl", torn, ROW))
    assert (first.status, first.text) == ("unparseable", None)
    assert "end marker stands before" in first.reason
    assert second.text == "It is 5."


def test_rows_without_a_correction_are_counted_with_the_place_of_the_first(tmp_path, caplog):
    direct = ROW | {"original_answer": "", "prompt_mode": "direct"}
    path = write(
        tmp_path / "c.jsonl",
        ROW,
        direct,
        direct,
        ROW | {"gemini_corrected_answer": None},
        b'{"index": 4, "qu',
    )
    assert texts(path) == ["It is 5."]
    (record,) = caplog.records
    assert record.message.startswith(f"{path}: 4 rows hold no correction that can be used: ")
    for said in (
        "empty response (2)",
        "missing correction (1)",
        "broken JSON (1)",
        "The first, line 2: empty response",
    ):
        assert said in record.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([b""], "holds no rows: it needs at least one response with its correction"),
        (
            [{"question": "q", "answer": "a"}],
            "has no column 'original_answer', 'gemini_corrected_answer'; it has 'question'",
        ),
        ([ROW | {"original_answer": ""}], r"empty response \(1\). The first, line 1"),
        (
            [b"{", ROW | {"question": 5}],
            r"broken JSON \(1\), question is not text \(1\). The first, line 1: broken JSON",
        ),
        ([ROW | {"gemini_corrected_answer": ["x"]}], "line 1: correction is not text: list"),
    ],
)
def test_a_file_without_a_usable_row_is_refused_with_file_line_and_column(tmp_path, rows, said):
    path = write(tmp_path / "c.jsonl", *rows)
    with pytest.raises(InputError, match=said) as caught:
        propose(path)
    assert path in str(caught.value)


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused(tmp_path):
    write(tmp_path / "corrected.jsonl", ROW)
    missing = ImportedOracleConfig(path=str(tmp_path / "corected.jsonl"))
    for use in (ImportedOracle, corrections_digest):
        with pytest.raises(InputError, match=r"did you mean corrected\.jsonl"):
            use(missing)
    with pytest.raises(ValidationError, match=r"convert or rename"):
        ImportedOracleConfig(path="corrected.xlsx")


def test_what_the_file_says_is_in_the_key_and_where_it_lies_is_not(tmp_path):
    (tmp_path / "b").mkdir()
    first, moved = (ImportedOracleConfig(path=write(p / "c.jsonl", ROW)) for p in (tmp_path, tmp_path / "b"))
    assert result_settings(first) == result_settings(moved)
    assert corrections_digest(first) == corrections_digest(moved)
    write(tmp_path / "b" / "c.jsonl", ROW, ROW)
    assert corrections_digest(first) != corrections_digest(moved)
    other = ImportedOracleConfig(path=first.path, columns={"rectified": "chosen"})
    assert result_settings(first) != result_settings(other)


@pytest.mark.parametrize("ending", ["json", "csv", "parquet", "jsonl.gz"])
def test_every_kind_of_file_is_read(tmp_path, ending):
    import gzip

    import pandas as pd

    path = tmp_path / f"c.{ending}"
    frame = pd.DataFrame([ROW | {"index": 3}])
    match ending:
        case "json":
            path.write_text(json.dumps([ROW]))
        case "csv":
            frame.to_csv(path, index=False)
        case "parquet":
            frame.to_parquet(path)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(json.dumps(ROW).encode()))
    assert texts(str(path)) == ["It is 5."]
