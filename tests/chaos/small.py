"""A run that is small enough for a test: wrong responses are imported, so that no vLLM starts, and nothing is evaluated."""

import json
from pathlib import Path
from typing import Any

_QUESTIONS = [
    (first, second) for first in range(21, 89) for second in range(2, 9) if first % 10 + second > 9
][:48]


def small_settings(folder: Path) -> dict[str, Any]:
    """Settings of the run; its questions and responses are written into the folder."""
    path = folder / "responses.jsonl"
    path.write_text("".join(f"{json.dumps(_row(*of))}\n" for of in _QUESTIONS), encoding="utf-8")
    source = {"kind": "file", "path": str(path), "columns": {"response": "response"}, "near_duplicates": 0}
    train = {"ranks": 2, "epochs": 2, "batch_size": 4, "checkpoint_every_steps": 2}
    return {"questions": source, "train": train, "evaluate": {"datasets": []}}


def _row(first: int, second: int) -> dict[str, str]:
    """A question, its answer, and a response as the demo student writes it, which forgets the carry."""
    total = first + second
    wrong = total - 10
    response = f"{first}+{second}={wrong}\n{wrong}-1={wrong - 1}\nAnswer: \\boxed{{{wrong - 1}}}"
    return {"question": f"Compute {first}+{second}-1.", "answer": str(total - 1), "response": response}
