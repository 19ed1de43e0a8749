"""Where questions come from: a file, a data set of the Hugging Face hub, or a seeded generator."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from spot_core.config.base import Section

FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")
LEAST_SIMILARITY = 0.5


def require_known_ending(path: str) -> str:
    """Returns ``path`` if its ending says how the file is to be read.

    Raises:
        ValueError: it does not.
    """
    if not path.lower().endswith(FILE_SUFFIXES):
        raise ValueError(f"{path!r} ends in none of {', '.join(FILE_SUFFIXES)}: convert or rename the file")
    return path


class ColumnMapping(Section):
    """Which column holds what. A dotted path reaches into nested values: `prompt.0.content`."""

    question: str = Field(default="question", min_length=1)
    """The question as the model shall see it."""
    answer: str = Field(default="answer", min_length=1)
    """The gold answer: text or a number."""
    source_id: str | None = Field(default=None, min_length=1)
    """The source's own identifier, kept beside ours."""
    response: str | None = Field(default=None, min_length=1)
    """Set it where the data already holds responses: the run then begins at the filter stage."""
    finish_reason: str | None = Field(default=None, min_length=1)
    """Why each response ended, in the server's words (`length` means cut at the token limit)."""
    checker: str | None = Field(default=None, min_length=1)
    """Names, row by row, how the answer is checked (see filter.kind); rows without a value take filter.kind (checker.kind
    in an evaluation set)."""
    metadata: str | None = Field(default=None, min_length=1)
    """What a checker needs beside the answer: for reasoning_gym its entry, or the entry's metadata."""
    strip_prefix: str = ""
    """Instructions that every question text begins with, taken off (the prompt template adds its own)."""
    strip_suffix: str = ""
    """Instructions that every question text ends with, taken off."""

    @model_validator(mode="after")
    def _finish_reason_needs_response(self) -> Self:
        if self.finish_reason is not None and self.response is None:
            raise ValueError(
                "columns.finish_reason is set but columns.response is not: name the responses' column too"
            )
        return self


class _Rows(Section):
    """What all sources with rows of their own have in common."""

    columns: ColumnMapping = ColumnMapping()
    """Which column holds what."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows, after shuffling."""
    shuffle_seed: int | None = Field(default=None, ge=0)
    """Seed of the order; unset: the source's own order."""
    near_duplicates: float = Field(default=0.9, ge=0, le=1)
    """Questions to learn from are set aside if at least this share of their words, in order, are those of an earlier
    one with the same numbers, formulas and answer. 1: only those that are the same up to case, spacing and
    punctuation (right where questions differ in names alone). 0: only those that are the same letter by letter.
    Evaluation sets are never thinned out by this."""

    @field_validator("near_duplicates")
    @classmethod
    def _is_off_or_well_above_chance(cls, share: float) -> float:
        if 0 < share < LEAST_SIMILARITY:
            raise ValueError(
                f"near_duplicates = {share:g}: questions with so few words in common are different ones; give "
                f"{LEAST_SIMILARITY:g} to 1, or 0 to compare letter by letter"
            )
        return share


class FileQuestions(_Rows):
    """Questions (or questions with responses) in a file."""

    kind: Literal["file"] = "file"
    """Always `file`."""
    path: str = Field(min_length=1)
    """JSON Lines, JSON array, CSV or Parquet, told apart by the ending; all but Parquet may be gzipped."""

    @field_validator("path")
    @classmethod
    def _has_a_known_ending(cls, path: str) -> str:
        return require_known_ending(path)


class HubQuestions(_Rows):
    """Questions in a data set that `datasets.load_dataset` finds: on the hub, in its cache, or in a local folder."""

    kind: Literal["hub"] = "hub"
    """Always `hub`."""
    name: str = Field(min_length=1)
    """Name of the data set, such as `BytedTsinghua-SIA/DAPO-Math-17k`."""
    subset: str | None = None
    """Configuration of the data set, where it has several."""
    split: str = Field(default="train", min_length=1)
    """Split of the data set."""
    revision: str | None = None
    """Commit, tag or branch; unset: the newest."""


class GeneratorQuestions(Section):
    """Questions made from a seed; training and evaluation questions of a generator never meet."""

    kind: Literal["generator"] = "generator"
    """Always `generator`."""
    name: str = Field(min_length=1)
    """Name of the generator."""
    count: int = Field(ge=1)
    """Number of questions."""
    seed: int = Field(default=0, ge=0)
    """Seed of the questions."""
    split: Literal["train", "evaluation"] = "train"
    """Which of the generator's two disjoint sets."""


QuestionSource = Annotated[FileQuestions | HubQuestions | GeneratorQuestions, Field(discriminator="kind")]
