"""Corrections that exist already, such as those of the paper's own pipeline."""

from typing import Literal

from pydantic import Field, field_validator

from spot_core.config.base import Section
from spot_core.config.questions import require_known_ending


class CorrectionColumns(Section):
    """Which column holds what; the defaults are those of the paper's pipeline. A dotted path reaches into nested values."""

    question: str = Field(default="question", min_length=1)
    """The question, as `questions.columns.question` names it."""
    response: str = Field(default="original_answer", min_length=1)
    """The response that was corrected, as `questions.columns.response` names it."""
    rectified: str = Field(default="gemini_corrected_answer", min_length=1)
    """Its correction, with or without markers around it."""
    strip_prefix: str = ""
    """What `questions.columns.strip_prefix` says."""
    strip_suffix: str = ""
    """What `questions.columns.strip_suffix` says."""


class ImportedOracleConfig(Section):
    """Corrections that exist already: looked up by question and response, then checked and measured like any other."""

    kind: Literal["imported"] = "imported"
    """Which Oracle this is."""
    path: str = Field(min_length=1)
    """File with the corrections: JSON Lines, JSON array, CSV or Parquet, e.g. `gemini_corrected.jsonl`. Several
    corrections of one response are all tried, and the smallest edit that is right is kept."""
    columns: CorrectionColumns = CorrectionColumns()
    """Which column holds what."""

    @field_validator("path")
    @classmethod
    def _has_a_known_ending(cls, path: str) -> str:
        return require_known_ending(path)
