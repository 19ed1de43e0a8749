"""The order of work that `launch` writes to JSON and every training rank reads."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from spot_core.config.train import TrainConfig

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
