"""Rollouts of any size, made from real responses: no two rows alike, the same for every run."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.shared_data import shared_rows
from spot_core.store import Artifact, ArtifactStore, Recipe, schemas

_BATCH_ROWS = 5_000
_VOCABULARY = 150_000
_PIECE = re.compile(r"\w{1,5}|\s+|[^\w\s]")
_LAST_LINE = re.compile(r"\nA: (.+)\s*\Z")
_NUMBER = re.compile(r"-?\d[\d,]*")
_FORMS = (
    "\nA: {}",
    "\n\nAnswer: {}",
    "\nThe answer is {}.",
    "\n#### {}",
    "\nSo the answer is \\boxed{{{}}}.",
    "\n**Final answer:** ${}$",
)
_WRONG_GOLD, _OTHER_FORM, _CUT = 0.3, 0.5, 0.01
"""Shares of rows whose gold number is changed, whose last line is put otherwise, that hit the token limit."""


@dataclass(frozen=True)
class _Base:
    question: str
    response: str
    answer: str
    prompt_ids: np.ndarray
    response_ids: np.ndarray


def make_rollout(store: ArtifactStore, rows: int, *, seed: int = 0) -> Artifact:
    """The rollout artifact of so many rows, made where it is missing."""
    recipe = Recipe("rollout", {"benchmark": "filter_scale", "rows": rows, "seed": seed}, {}, 1)
    with store.write(recipe) as slot:
        if not isinstance(slot, Artifact):
            slot.complete_batches(_batches(rows, seed), statistics={"responses": rows})
    return store.get(recipe)


def _batches(rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    bases = [
        _Base(row["question"], row["response"], row["answer"], _ids(row["question"]), _ids(row["response"]))
        for name in ("gsm8k_model_solutions_400", "math_model_solutions")
        for row in shared_rows(name)
    ]
    for start in range(0, rows, _BATCH_ROWS):
        yield _batch(bases, range(start, min(rows, start + _BATCH_ROWS)), seed)


def _ids(text: str) -> np.ndarray:
    """As many ids as a tokenizer would make, and the same piece always the same id."""
    return np.array([zlib.crc32(p.encode()) % _VOCABULARY for p in _PIECE.findall(text)], dtype=np.int32)


def _batch(bases: list[_Base], numbers: range, seed: int) -> pa.RecordBatch:
    random = Random(f"{seed}/{numbers.start}")
    chosen = [random.choice(bases) for _ in numbers]
    texts: list[dict[str, Any]] = [
        _varied(base, number, random) for base, number in zip(chosen, numbers, strict=True)
    ]
    columns = {
        "question_id": pa.array([f"{number:016x}" for number in numbers]),
        "sample": pa.array(np.zeros(len(numbers), dtype=np.int32)),
        **{name: pa.array([text[name] for text in texts]) for name in texts[0]},
        "source": pa.array(["benchmark"] * len(numbers)),
        "prompt_token_ids": _lists([base.prompt_ids for base in chosen]),
        "response_token_ids": _lists([base.response_ids for base in chosen]),
        "ids_sampled": pa.array([True] * len(numbers)),
        "seed": pa.array(np.arange(numbers.start, numbers.stop, dtype=np.int64)),
        "checker": pa.nulls(len(numbers), pa.string()),
        "metadata": pa.nulls(len(numbers), pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[n] for n in schemas.ROLLOUT.names], schema=schemas.ROLLOUT)


def _lists(arrays: list[np.ndarray]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(arrays), type=pa.list_(pa.int32()))


def _varied(base: _Base, number: int, random: Random) -> dict[str, str]:
    response, answer = base.response, base.answer
    stated = _LAST_LINE.search(response)
    if stated and random.random() < _OTHER_FORM:
        response = response[: stated.start()] + random.choice(_FORMS).format(stated[1])
    if random.random() < _WRONG_GOLD:
        answer = _NUMBER.sub(
            lambda m: str(int(m[0].replace(",", "")) + random.randint(1, 9)), answer, count=1
        )
    elif answer.isdigit():
        answer = random.choice((answer, f"{int(answer):,}", f"{answer}.0", f"${answer}$", f" {answer} "))
    return {
        "question": f"{base.question} (variant {number})",
        "answer": answer,
        "response": f"Attempt {number}.{random.choice((' ', chr(10), chr(10) * 2))}{response}{' ' * random.randint(0, 3)}",
        "finish_reason": "length" if random.random() < _CUT else "stop",
    }
