"""Agreement with labels of real responses; the data may not be copied into the project (licences)."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spot_core.checker import CheckerPool, CheckItem
from spot_core.checker.comparison import compare_fast
from spot_core.checker.engine import compare_parsed
from spot_core.checker.extraction import extract_answer
from spot_core.checker.notation import normalised

SHARED = os.environ.get("SPOT_SHARED_DATA", "")
FILES = ("math500_150", "aime24", "amc23", "minerva_100", "olympiadbench_100", "gsm8k_test_200")
PYTHON = re.compile(r"(-?\d+(?:\.\d*)?)e([-+]?\d+)|-1\./3")
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


def test_few_debatable_cases_are_wrong(pool: CheckerPool) -> None:
    cases = [case for case in rows("answer_check_cases.jsonl") if case["tier"] == "debatable"]
    found = verdicts(pool, cases, "prediction", "gold")
    wrong = [
        case["id"]
        for case, v in zip(cases, found, strict=True)
        if v != "ambiguous" and (v == "correct") != case["expected"]
    ]
    assert len(wrong) <= 3, wrong


def test_golds_in_python_notation_equal_the_same_number_in_latex(pool: CheckerPool) -> None:
    golds = [row["answer"] for row in rows("minerva_100.jsonl") if PYTHON.fullmatch(row["answer"])]
    assert len(golds) == 26 + 1  # with an exponent, and -1./3
    latex = [PYTHON.sub(r"\1 \\times 10^{\2}", gold) if "e" in gold else r"-\frac{1}{3}" for gold in golds]
    items = [CheckItem(rf"so $\boxed{{{text}}}$", gold) for text, gold in zip(latex, golds, strict=True)]
    assert {v.verdict for v in pool.check_many(items)} == {"correct"}


def test_fast_rules_and_sympy_agree_on_all_data() -> None:
    """But for percent signs, units and lists, which math-verify reads in ways of its own."""
    answers = [
        (found.answer, case["answer"])
        for name in ("gsm8k_model_solutions_400", "math_model_solutions")
        for case in rows(f"{name}.jsonl")
        if (found := extract_answer(case["response"]))
    ]
    golds = [row["answer"] for name in FILES for row in rows(f"{name}.jsonl")]
    pairs = {*answers, *zip(golds, golds, strict=True), *itertools.pairwise(golds)}
    compared, contradictions = 0, []
    for answer, gold in sorted(pairs):
        texts = normalised(answer), normalised(gold)
        fast = compare_fast(answer, gold)
        if fast is None or fast[0] == "ambiguous" or any(re.search("[%,]|[a-z]{3}", text) for text in texts):
            continue
        slow = compare_parsed(*texts)
        compared += slow[0] != "ambiguous"
        if {fast[0], slow[0]} == {"correct", "incorrect"}:
            contradictions.append((answer, gold, fast, slow))
    assert contradictions == []
    assert compared > 400


def test_every_gold_answer_equals_itself_in_a_box(pool: CheckerPool) -> None:
    golds = [row["answer"] for name in FILES for row in rows(f"{name}.jsonl")]
    items = [CheckItem(rf"Therefore \boxed{{ {gold.strip('$')} }}.", gold) for gold in golds]
    assert {v.verdict for v in pool.check_many(items)} == {"correct"}
