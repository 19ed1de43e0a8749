"""Agreement with labels of real responses; the data may not be copied into the project (licences)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spot_core.checker import CheckerPool, CheckItem

SHARED = os.environ.get("SPOT_SHARED_DATA", "")
pytestmark = pytest.mark.skipif(
    not Path(SHARED, "answer_check_cases.jsonl").is_file() or not SHARED,
    reason="SPOT_SHARED_DATA does not name the folder with the shared data files",
)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(SHARED, name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckerPool]:
    with CheckerPool(workers=1, timeout_seconds=5.0) as shared:
        yield shared


def verdicts(pool: CheckerPool, cases: list[dict[str, Any]], response: str, gold: str) -> list[str]:
    return [v.verdict for v in pool.check_many(CheckItem(case[response], case[gold]) for case in cases)]


@pytest.mark.parametrize("name", ["gsm8k_model_solutions_400.jsonl", "math_model_solutions.jsonl"])
def test_labels_of_real_responses_are_reproduced(pool: CheckerPool, name: str) -> None:
    cases = [case for case in rows(name) if not case.get("label_error")]
    found = verdicts(pool, cases, "response", "answer")
    wrong = [
        case["id"] for case, v in zip(cases, found, strict=True) if (v == "correct") != case["is_correct"]
    ]
    assert wrong == []


def test_clear_cases_are_right(pool: CheckerPool) -> None:
    cases = [case for case in rows("answer_check_cases.jsonl") if case["tier"] == "clear"]
    found = verdicts(pool, cases, "prediction", "gold")
    wrong = [case["id"] for case, v in zip(cases, found, strict=True) if (v == "correct") != case["expected"]]
    assert wrong == []


def test_every_gold_answer_equals_itself_in_a_box(pool: CheckerPool) -> None:
    files = ("math500_150", "aime24", "amc23", "minerva_100", "olympiadbench_100", "gsm8k_test_200")
    golds = [row["answer"] for name in files for row in rows(f"{name}.jsonl")]
    items = [CheckItem(rf"Therefore \boxed{{ {gold.strip('$')} }}.", gold) for gold in golds]
    assert {v.verdict for v in pool.check_many(items)} == {"correct"}
