"""A run's accepted pairs as a preference data set that `datasets` and TRL read: Parquet or JSON Lines, with a card."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError
from spot_core.report.dataset_card import render_dataset_card
from spot_core.runs import Run
from spot_core.store import Artifact
from spot_core.store.manifest import write_atomically
from spot_core.store.writer import write_parts

Form = Literal["trl", "jsonl"]
CARD = "README.md"
RECORD = "export.json"
"""Names the files of an export: so one is told from a folder with somebody's own files in it."""

_PATTERNS: dict[Form, str] = {"trl": "train-*.parquet", "jsonl": "train.jsonl"}
_ROWS_AT_ONCE = 512
"""Rows that are Python objects at the same time; a response may have 100,000 characters."""
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_KEPT = {
    "question_id": pa.string(),
    "sample": pa.int32(),
    "question": pa.string(),
    "answer": pa.string(),
    "change_ratio": pa.float64(),
    "oracle": pa.string(),
    "flags": pa.list_(pa.string()),
}
_TOKEN_IDS = {
    "prompt_token_ids": "prompt_token_ids",
    "chosen_token_ids": "rectified_token_ids",
    "rejected_token_ids": "response_token_ids",
}
"""Columns of token ids, and what they are called in the artifact."""


@dataclass(frozen=True)
class Export:
    """A folder that `datasets.load_dataset` reads, and how many pairs it holds."""

    folder: Path
    pairs: int


def export_pairs(
    run: Run, folder: str | Path | None = None, *, form: Form = "trl", token_ids: bool = False
) -> Export:
    """Writes the accepted pairs of a run; the folder appears whole or not at all, and replaces an earlier export.

    Args:
        run: a run whose rectify stage is complete.
        folder: where to; unset: ``export/<form>`` in the run's folder.
        form: ``trl`` writes Parquet, ``jsonl`` JSON Lines; the rows are the same.
        token_ids: add the policy's own token ids of prompt, chosen and rejected.

    Raises:
        ConfigError: there are no pairs, or the folder cannot be written or holds something else than an export.
        ArtifactError: the pairs are not in the store any more.
    """
    rectified = _rectified(run)
    target = Path(folder or run.folder / "export" / form).expanduser().resolve()
    _require_free(target)
    schema = _schema(run.config, token_ids=token_ids)
    rows = _rows(rectified, run.config, schema)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            files, pairs = (_write_parquet if form == "trl" else _write_json_lines)(made, rows, schema)
            assert pairs == rectified.statistics["pairs"], f"the artifact counts other pairs than {pairs}"
            card = render_dataset_card(
                run.config, run_name=run.name, rectified=rectified, schema=schema, files=_PATTERNS[form]
            )
            write_atomically(made / CARD, card)
            record = {"run": run.name, "digest": rectified.digest, "files": [*files, CARD, RECORD]}
            write_atomically(made / RECORD, json.dumps(record, indent=1) + "\n")
            if target.exists():
                target.rename(Path(scratch) / "earlier")
            made.rename(target)
    except OSError as error:
        raise ConfigError(f"the export cannot be written to {target}: {error}") from error
    if target.is_relative_to(run.folder):
        run.store.publish(target)
    return Export(target, pairs)


def _rectified(run: Run) -> Artifact:
    """The pairs that the run used, at least one."""
    used = run.record.used.get("rectify")
    if used is None:
        raise ConfigError(
            f"run {run.name!r} has no pairs yet: its stage 'rectify' is not complete. Run that stage, or the flow "
            "spot/full, first"
        )
    rectified = run.store.open(used.stage, used.key, used.generation)
    if not rectified.statistics["pairs"]:
        statuses = Counter(rectified.statistics["status"]).most_common()
        became = ", ".join(f"{count} {status}" for status, count in statuses)
        raise ConfigError(
            f"run {run.name!r} has no accepted pair to export: of {rectified.rows} failures became "
            f"{became or 'nothing, as there were none'}"
        )
    return rectified


def _schema(config: SpotConfig, *, token_ids: bool) -> pa.Schema:
    fields: dict[str, pa.DataType] = {
        **_KEPT,
        "prompt": _MESSAGES,
        "chosen": _MESSAGES,
        "rejected": _MESSAGES,
    }
    if options := config.model.chat_template_kwargs:
        fields["chat_template_kwargs"] = pa.scalar(options).type
    if token_ids:
        fields |= dict.fromkeys(_TOKEN_IDS, pa.list_(pa.int32()))
    return pa.schema(fields.items())


def _rows(rectified: Artifact, config: SpotConfig, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The accepted pairs in their order, a few hundred at a time."""
    ids = {ours: theirs for ours, theirs in _TOKEN_IDS.items() if ours in schema.names}
    columns = [*_KEPT, "response", "rectified", "status", *ids.values()]
    for batch in rectified.batches(columns=columns, rows=_ROWS_AT_ONCE):
        accepted = batch.filter(pc.equal(batch.column("status"), "accepted"))
        rows = [
            {name: row[name] for name in _KEPT}
            | {
                "prompt": config.prompt.messages(row["question"]),
                "chosen": [{"role": "assistant", "content": row["rectified"]}],
                "rejected": [{"role": "assistant", "content": row["response"]}],
                "chat_template_kwargs": config.model.chat_template_kwargs,
            }
            | {ours: row[theirs] for ours, theirs in ids.items()}
            for row in accepted.to_pylist()
        ]
        yield pa.RecordBatch.from_pylist(rows, schema)


def _write_parquet(
    folder: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> tuple[list[str], int]:
    """Returns the names of the files and the number of rows in them."""
    parts = list(write_parts(folder, batches, schema, what="an export", stem="train"))
    return [path.name for path, _ in parts], sum(rows for _, rows in parts)


def _write_json_lines(
    folder: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> tuple[list[str], int]:
    """Returns the name of the file and the number of rows in it."""
    rows = 0
    with (folder / _PATTERNS["jsonl"]).open("w", encoding="utf-8", newline="\n") as file:
        for batch in batches:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
            rows += batch.num_rows
        file.flush()
        os.fsync(file.fileno())
    return [_PATTERNS["jsonl"]], rows


def _require_free(target: Path) -> None:
    """Refuses a place that holds anything but an export; one with further files in it is somebody's work."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"the export cannot be written to {target}: this is a file; give a folder")
    present = {path.relative_to(target).as_posix() for path in target.rglob("*")}
    if foreign := sorted(present - _files_of_export(target)):
        raise ConfigError(
            f"the export would replace {target}, which holds files that no export wrote ({foreign[0]} and "
            f"{len(foreign) - 1} others): give a new or empty folder"
        )


def _files_of_export(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"])
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError):  # somebody's own file of this name
        return set()
