from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spot_core.errors import InputError
from spot_core.training.pairs import (
    Pair,
    read_pairs,
    read_reference,
    refuse_foreign_tokens,
    split_by_context,
)
from tests.spot_core.training.synthetic import random_pairs

IDS = pa.list_(pa.int32())
PAIRS = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample", pa.int32()),
        ("prompt_token_ids", IDS),
        ("response_token_ids", IDS),
        ("rectified_token_ids", IDS),
    ]
)


def write_pairs(path: Path, pairs: list[Pair]) -> Path:
    rows = [
        {
            "question_id": pair.question_id,
            "sample": pair.sample,
            "prompt_token_ids": pair.prompt.tolist(),
            "response_token_ids": pair.rejected.tolist(),
            "rectified_token_ids": pair.chosen.tolist(),
        }
        for pair in pairs
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIRS), path)
    return path


def test_pairs_of_several_files_come_back_sorted_and_whole(tmp_path: Path) -> None:
    pairs = random_pairs(7)
    files = [
        write_pairs(tmp_path / "b.parquet", pairs[::-2]),
        write_pairs(tmp_path / "a.parquet", pairs[1::2]),
    ]
    read = read_pairs(files)
    assert [pair.key for pair in read] == [pair.key for pair in pairs]
    for found, pair in zip(read, pairs, strict=True):
        assert found.chosen_sequence.tolist() == pair.chosen_sequence.tolist()
        assert found.rejected_sequence.tolist() == pair.rejected_sequence.tolist()


def test_a_sliced_column_is_read_from_its_slice(tmp_path: Path) -> None:
    pairs = random_pairs(9)
    path = write_pairs(tmp_path / "all.parquet", pairs)
    pq.write_table(pq.read_table(path).slice(4, 3), tmp_path / "some.parquet", row_group_size=2)
    assert [pair.prompt.tolist() for pair in read_pairs([tmp_path / "some.parquet"])] == [
        pair.prompt.tolist() for pair in pairs[4:7]
    ]


def test_bad_pairs_are_refused_by_name(tmp_path: Path) -> None:
    pairs = random_pairs(3)
    with pytest.raises(InputError, match="no such file"):
        read_pairs([tmp_path / "missing.parquet"])
    path = write_pairs(tmp_path / "pairs.parquet", pairs)
    with pytest.raises(InputError, match="occur twice"):
        read_pairs([path, path])
    pq.write_table(pq.read_table(path).drop_columns(["rectified_token_ids"]), tmp_path / "rollout.parquet")
    with pytest.raises(InputError, match="rectified_token_ids is missing"):
        read_pairs([tmp_path / "rollout.parquet"])
    empty = Pair("q", 0, pairs[0].prompt, pairs[0].rejected, pairs[0].chosen[:0])
    with pytest.raises(InputError, match="rectified_token_ids is empty"):
        read_pairs([write_pairs(tmp_path / "empty.parquet", [empty])])
    with pytest.raises(InputError, match="outside the model's vocabulary of 3"):
        refuse_foreign_tokens(pairs, 3)


def test_pairs_over_the_context_are_dropped_with_the_reason_and_never_cut() -> None:
    pairs = random_pairs(20)
    limit = sorted(pair.longest for pair in pairs)[10]
    kept, dropped = split_by_context(pairs, limit)
    assert all(pair.longest <= limit for pair in kept)
    assert len(kept) + len(dropped) == 20
    assert dropped and all(f"context_length of {limit}" in pair.reason for pair in dropped)


def test_reference_of_other_pairs_is_refused(tmp_path: Path) -> None:
    pairs = random_pairs(2)
    row = {
        "question_id": pairs[0].question_id,
        "sample": 0,
        "chosen_logprob": -1.0,
        "rejected_logprob": -2.0,
        "chosen_tokens": len(pairs[0].chosen),
        "rejected_tokens": len(pairs[0].rejected),
    }
    path = tmp_path / "reference.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    assert read_reference([path], pairs[:1])[0].rejected_logprob == -2.0
    with pytest.raises(InputError, match="q0001, sample 0 has no row"):
        read_reference([path], pairs)
    pq.write_table(pa.Table.from_pylist([{**row, "chosen_tokens": 999}]), path)
    with pytest.raises(InputError, match="has other token counts"):
        read_reference([path], pairs[:1])
