"""Compares a disturbed run with an undisturbed one: rows missing or doubled, bytes that differ, calls paid twice."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from spot_core.runs import Run
from spot_core.store import Artifact

_KEYS = {
    "questions": ["question_id"],
    "train": ["step"],
    "evaluate": ["dataset", "question_id", "sample"],
}
_KEY = ["question_id", "sample"]
_TIMINGS = ["tokens_per_second", "mfu"]
_WEIGHTS = ".safetensors"


@dataclass
class Verdict:
    """What the comparison found.

    Attributes:
        identical: for every artifact of the undisturbed run, whether its bytes are the same (of training: everything
            but its timings, and the weights).
        same_pairs: whether the accepted pairs are the same, token by token.
    """

    rows_lost: int = 0
    rows_doubled: int = 0
    identical: dict[str, bool] = field(default_factory=dict)
    same_pairs: bool = False
    pairs: int = 0


def compare(disturbed: Run, calm: Run) -> Verdict:
    """The verdict about two runs that are complete."""
    verdict = Verdict()
    for name in calm.record.used:
        expected = _artifact(calm, name)
        if name not in disturbed.record.used:
            verdict.rows_lost += expected.rows
            verdict.identical[name] = False
            continue
        found = _artifact(disturbed, name)
        want, have = _keys(expected), _keys(found)
        verdict.rows_lost += sum((want - have).values())
        verdict.rows_doubled += sum((have - want).values())
        verdict.identical[name] = _content(found) == _content(expected)
    have, want = _pairs(disturbed), _pairs(calm)
    verdict.pairs, verdict.same_pairs = len(have), have == want
    return verdict


def _artifact(run: Run, name: str) -> Artifact:
    used = run.record.used[name]
    return run.store.open(used.stage, used.key, used.generation)


def _keys(artifact: Artifact) -> Counter[tuple[Any, ...]]:
    columns = _KEYS.get(artifact.stage, _KEY)
    return Counter(tuple(row[c] for c in columns) for row in artifact.rows_as_dicts(columns=columns))


def _content(artifact: Artifact) -> Any:
    if artifact.stage != "train":
        return artifact.digest
    table: pa.Table = artifact.table().drop_columns(_TIMINGS)
    weights = {file.path: file.sha256 for file in artifact.manifest.files if file.path.endswith(_WEIGHTS)}
    assert weights, "a trained policy has weights"
    return table.to_pylist(), weights


def _pairs(run: Run) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = _artifact(run, "rectify").rows_as_dicts()
    return {
        (row["question_id"], row["sample"]): (row["response_token_ids"], row["rectified_token_ids"])
        for row in rows
        if row["status"] == "accepted"
    }


def count_answered_calls(log: Path) -> tuple[int, int]:
    """Calls that the endpoint answered, by its own log, and how many of them repeat an answered request: paid twice."""
    answers: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        note = json.loads(line)
        answers[note["hash"]] += bool(note["answered"])
    return answers.total(), sum(times - 1 for times in answers.values() if times > 1)
