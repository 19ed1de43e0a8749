"""Training pairs (x, y⁻, y⁺) and their reference log-probs, read from Parquet."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.errors import InputError

PAIR_COLUMNS = ("question_id", "sample", "prompt_token_ids", "response_token_ids", "rectified_token_ids")
REFERENCE_COLUMNS = (
    "question_id",
    "sample",
    "chosen_logprob",
    "rejected_logprob",
    "chosen_tokens",
    "rejected_tokens",
)

PairKey = tuple[str, int]  # (question_id, sample)


@dataclass(frozen=True, eq=False)
class Pair:
    """One failed response, its edit, and their prompt, as token ids of the policy's tokenizer."""

    question_id: str
    sample: int
    prompt: np.ndarray  # (prompt tokens,) int32
    rejected: np.ndarray  # (response tokens,) int32: y⁻, with its end-of-turn token if it stopped by itself
    chosen: np.ndarray  # (response tokens,) int32: y⁺, with its end-of-turn token

    @property
    def key(self) -> PairKey:
        return (self.question_id, self.sample)

    @property
    def chosen_sequence(self) -> np.ndarray:
        """Prompt and y⁺."""
        return np.concatenate([self.prompt, self.chosen])

    @property
    def rejected_sequence(self) -> np.ndarray:
        """Prompt and y⁻."""
        return np.concatenate([self.prompt, self.rejected])

    @property
    def longest(self) -> int:
        """Tokens of the longer of its two sequences."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def tokens(self) -> int:
        """Tokens of both sequences, each counted as if it stood alone."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(frozen=True)
class Reference:
    """log π_ref of a pair's responses, summed over their tokens (nats)."""

    chosen_logprob: float
    rejected_logprob: float


@dataclass(frozen=True)
class DroppedPair:
    """A pair that is not trained on, and why."""

    question_id: str
    sample: int
    reason: str


def read_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Returns the pairs of all files, sorted by (question_id, sample).

    Raises:
        InputError: a file or column is missing, a key occurs twice, or a prompt or response has no tokens.
    """
    table = _read(paths, PAIR_COLUMNS)
    columns = [table.column(name).combine_chunks() for name in PAIR_COLUMNS]
    questions, samples = columns[0].to_pylist(), columns[1].to_pylist()
    prompts, rejected, chosen = (_token_lists(column) for column in columns[2:])
    pairs = [Pair(*row) for row in zip(questions, samples, prompts, rejected, chosen, strict=True)]
    pairs.sort(key=lambda pair: pair.key)
    _refuse_duplicates((pair.key for pair in pairs), paths)
    for pair in pairs:
        for name, ids in (
            ("prompt_token_ids", pair.prompt),
            ("response_token_ids", pair.rejected),
            ("rectified_token_ids", pair.chosen),
        ):
            if not len(ids):
                raise InputError(
                    f"question_id {pair.question_id}, sample {pair.sample}: {name} is empty; "
                    "a pair needs a prompt and two responses of at least one token each"
                )
    return pairs


def read_reference(paths: Sequence[Path], pairs: Sequence[Pair]) -> list[Reference]:
    """Returns the reference log-probs of ``pairs``, in their order.

    Raises:
        InputError: a file or column is missing, or a pair has no row, or its row counts other tokens.
    """
    rows = {(row["question_id"], row["sample"]): row for row in _read(paths, REFERENCE_COLUMNS).to_pylist()}
    found = []
    for pair in pairs:
        row = rows.get(pair.key)
        tokens = (len(pair.chosen), len(pair.rejected))
        if row is None or (row["chosen_tokens"], row["rejected_tokens"]) != tokens:
            what = "has no row" if row is None else "has other token counts"
            raise InputError(
                f"question_id {pair.question_id}, sample {pair.sample} {what} in the reference log-probs "
                f"({', '.join(map(str, paths))}); compute them again for exactly these pairs"
            )
        found.append(Reference(row["chosen_logprob"], row["rejected_logprob"]))
    return found


def split_by_context(pairs: Iterable[Pair], context_length: int) -> tuple[list[Pair], list[DroppedPair]]:
    """Returns the pairs whose sequences fit ``context_length`` tokens, and the others with the reason."""
    kept: list[Pair] = []
    dropped: list[DroppedPair] = []
    for pair in pairs:
        if pair.longest <= context_length:
            kept.append(pair)
        else:
            reason = f"{pair.longest} tokens of prompt and response are over the context_length of {context_length}"
            dropped.append(DroppedPair(pair.question_id, pair.sample, reason))
    return kept, dropped


def refuse_foreign_tokens(pairs: Iterable[Pair], vocabulary: int) -> None:
    """Raises InputError if a token id is none of the model's ``vocabulary`` (its embedding's rows)."""
    for pair in pairs:
        for ids in (pair.prompt, pair.rejected, pair.chosen):
            if ids.min() < 0 or ids.max() >= vocabulary:
                foreign = int(ids.max()) if ids.max() >= vocabulary else int(ids.min())
                raise InputError(
                    f"question_id {pair.question_id}, sample {pair.sample}: token id {foreign} is outside the "
                    f"model's vocabulary of {vocabulary}; the pairs were made with another tokenizer"
                )


def _read(paths: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    tables = []
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        # Not `read_table`, which imports pandas: a second in every rank.
        with pq.ParquetFile(path) as file:
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise InputError(f"{path}: column {', '.join(sorted(missing))} is missing")
            tables.append(file.read(columns=list(columns)))
    if not tables:
        raise InputError("no file was given to read pairs or reference log-probs from")
    return pa.concat_tables(tables)


def _token_lists(column: pa.ListArray) -> list[np.ndarray]:
    """Views into the flat values of a list column; a null is an empty list."""
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return [values[start:stop] for start, stop in pairwise(offsets)]


def _refuse_duplicates(keys: Iterable[PairKey], paths: Sequence[Path]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise InputError(
            f"{', '.join(map(str, paths))}: (question_id, sample) {twice[0]} and {len(twice) - 1} others occur twice"
        )
