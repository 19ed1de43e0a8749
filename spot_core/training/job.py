"""A training job: the order that every rank reads, and the JSON lines in which ranks report to the process that launched them."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from spot_core.config.train import TrainConfig


def append_line(path: Path, row: dict[str, Any]) -> int:
    """Appends ``row`` as one JSON line; returns the file's size afterwards, in bytes."""
    with path.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
        return file.tell()


def truncate(path: Path, size: int) -> None:
    """Cuts a file of JSON lines back to ``size`` bytes, making it if it is missing."""
    path.touch()
    if path.stat().st_size < size:
        raise AssertionError(f"{path} lost rows: {path.stat().st_size} of {size} bytes are left")
    os.truncate(path, size)


class LineTail:
    """Reads what has been appended to a file since the last look, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_rows(self) -> list[dict[str, Any]]:
        """Rows that were completed since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _rest = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
"""Other nodes read the job in a folder of their own."""


class TrainingJob(BaseModel):
    """One pass of torchrun: the reference log-probs of the pairs, or training on them.

    ``reference`` mode writes ``output_dir/reference.parquet``; ``train`` mode ``output_dir/checkpoint/``.
    What a rerun needs, and what is thrown away afterwards, is in ``scratch_dir``: one job has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    mode: Literal["reference", "train"]
    model_path: AbsolutePath
    """Folder of a Hugging Face checkpoint: π_ref, and π_θ at its start."""
    base_model: str | None = None
    """What a saved adapter calls that model; None leaves it nameless."""
    trust_remote_code: bool = False
    pairs: tuple[AbsolutePath, ...]
    """Parquet files: question_id, sample, prompt_token_ids, response_token_ids (y⁻), rectified_token_ids (y⁺)."""
    reference: tuple[AbsolutePath, ...] | None = None
    """Parquet files of an earlier ``reference`` job; None in that mode."""
    settings: TrainConfig
    output_dir: AbsolutePath
    scratch_dir: AbsolutePath
    backend: Literal["auto", "gloo", "nccl"] = "auto"
    """gloo trains on the CPU, nccl on GPUs; auto takes GPUs where there are some."""

    @model_validator(mode="after")
    def _train_has_a_reference(self) -> Self:
        if (self.mode == "train") != (self.reference is not None):
            raise ValueError(
                f"mode = {self.mode!r}, reference = {self.reference}: training needs it, the other has none"
            )
        return self

    @property
    def job_path(self) -> Path:
        """This job as the JSON file that ranks read."""
        return self.scratch_dir / "job.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object per optimizer step."""
        return self.scratch_dir / "metrics.jsonl"

    @property
    def progress_path(self) -> Path:
        """JSON lines ``{"done", "total"}``: optimizer steps, or pairs in ``reference`` mode."""
        return self.scratch_dir / "progress.jsonl"

    @property
    def layout_path(self) -> Path:
        """JSON: whether rows were merged, which kernel computed attention, and why it was not the fastest."""
        return self.scratch_dir / "layout.json"

    @property
    def unlikely_path(self) -> Path:
        """JSON: the tokens of y⁺ that are far less likely under π_ref than the rest, see `unlikely`."""
        return self.scratch_dir / "unlikely.json"

    @property
    def invariants_path(self) -> Path:
        """JSON: what was measured of each invariant."""
        return self.scratch_dir / "invariants.json"

    @property
    def error_path(self) -> Path:
        """What a rank said before it gave up, as JSON ``{"kind", "message"}``."""
        return self.scratch_dir / "error.json"

    @property
    def state_dir(self) -> Path:
        """Resumable checkpoints."""
        return self.scratch_dir / "state"
