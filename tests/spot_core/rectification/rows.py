"""Rows of the rectify stage, made up."""

import random
from typing import Any

ORACLES = ("calculator", "openai:teacher")
MEASURED = ("accepted", "flagged", "too_different", "too_long", "wrong_answer")
UNMEASURED = ("unchanged", "unparseable", "refused", "oracle_error", "pending")


def proposal(status: str = "accepted", **fields: Any) -> dict[str, Any]:
    """One entry of a row's history."""
    made = {
        "attempt": 1,
        "oracle": "openai:teacher",
        "status": status,
        "reason": None if status == "accepted" else f"the reason of {status}",
        "change_ratio": 0.25 if status in MEASURED else None,
        "input_tokens": 100,
        "output_tokens": 50,
        "cost_usd": 0.01,
    }
    assert fields.keys() <= made.keys()
    return made | fields


def row(number: int, history: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The row of a failure whose proposals were `history`; its status is that of the last one."""
    last = history[-1] if history else proposal("not_asked", attempt=0)
    measured = last["status"] in MEASURED
    made = {
        "question_id": f"{number:06d}",
        "sample": 0,
        "question": f"What is {number} + 1?",
        "answer": str(number + 1),
        "prompt_token_ids": [1, 2],
        "response": f"{number} + 1 = {number}",
        "response_token_ids": [5, 6, 7, 8, 9, 2],
        "rectified": f"{number} + 1 = {number + 1}" if measured else None,
        "rectified_token_ids": [5, 6, 7, 3, 2] if measured else None,
        "status": last["status"],
        "reason": last["reason"],
        "flags": [],
        "change_ratio": last["change_ratio"],
        "shared_prefix_tokens": 3 if measured else None,
        "edit_regions": 1 if measured else None,
        "attempts": last["attempt"],
        "oracle": last["oracle"],
        "oracle_input_tokens": sum(entry["input_tokens"] for entry in history),
        "oracle_output_tokens": sum(entry["output_tokens"] for entry in history),
        "cost_usd": sum(entry["cost_usd"] for entry in history),
        "history": history,
    }
    assert fields.keys() <= made.keys()
    return made | fields


def random_row(number: int, random: random.Random) -> dict[str, Any]:
    """A row as a chain of two Oracles could leave it, with several samples an attempt."""
    history = []
    for oracle in ORACLES:
        for attempt in range(1, random.randint(1, 4)):
            for _ in range(random.randint(1, 2)):
                status = random.choice(MEASURED + UNMEASURED)
                ratio = random.random() if status in MEASURED else None
                cost = random.choice([0.0, 0.25, 0.5])
                history.append(
                    proposal(status, oracle=oracle, attempt=attempt, change_ratio=ratio, cost_usd=cost)
                )
            if history[-1]["status"] == "accepted":
                return _varied(row(number, history), random)
    return _varied(row(number, history), random)


def _varied(made: dict[str, Any], random: random.Random) -> dict[str, Any]:
    made["response_token_ids"] = list(range(random.randint(4, 40)))
    made["flags"] = random.sample(["retokenized", "length_drift", "meta_talk"], random.randint(0, 2))
    if made["rectified"] is not None:
        made["rectified_token_ids"] = list(range(random.randint(4, 40)))
        made["shared_prefix_tokens"] = random.randint(0, 3)
        made["edit_regions"] = random.randint(1, 14)
    return made
