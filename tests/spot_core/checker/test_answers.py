"""Verdicts on answers in many notations; `answers.jsonl` holds the contents of boxes, `responses.jsonl` whole texts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spot_core.checker import CheckerPool, CheckItem

HERE = Path(__file__).parent


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckerPool]:
    with CheckerPool(workers=2, timeout_seconds=5.0) as shared:
        yield shared


@pytest.mark.parametrize("expected", ["correct", "incorrect", "ambiguous"])
def test_answers_are_judged_whatever_their_notation(pool: CheckerPool, expected: str) -> None:
    cases = [(answer, line["gold"]) for line in lines("answers.jsonl") for answer in line.get(expected, ())]
    items = [CheckItem(rf"So we get \boxed{{{answer}}}.", gold) for answer, gold in cases]
    found = [
        (answer, gold, verdict.verdict, verdict.method)
        for (answer, gold), verdict in zip(cases, pool.check_many(items), strict=True)
        if verdict.verdict != expected
    ]
    assert found == []


def test_the_statement_that_closes_a_response_counts(pool: CheckerPool) -> None:
    cases = lines("responses.jsonl")
    verdicts = pool.check_many(CheckItem(case["response"], case["gold"]) for case in cases)
    found = [
        (case["response"], verdict)
        for case, verdict in zip(cases, verdicts, strict=True)
        if verdict.verdict not in case["verdict"]
    ]
    assert found == []


def test_hand_labelled_answers_are_never_contradicted(pool: CheckerPool) -> None:
    cases = lines("labelled.jsonl")
    verdicts = list(pool.check_many(CheckItem(case["response"], case["gold"]) for case in cases))
    opposite = {"correct": "incorrect", "incorrect": "correct"}
    contradicted = [
        (case, verdict.method)
        for case, verdict in zip(cases, verdicts, strict=True)
        if verdict.verdict == opposite[case["expected"]]
    ]
    assert contradicted == []
    decided = sum(verdict.verdict in opposite for verdict in verdicts)
    assert decided > 0.85 * len(cases)
