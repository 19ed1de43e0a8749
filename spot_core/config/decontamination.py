"""What the questions to learn from are kept apart from."""

from pydantic import Field

from spot_core.config.base import Section
from spot_core.config.questions import QuestionSource


class HeldOutSet(Section):
    """Questions that the policy shall never learn from, without being measured on them in this run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name in reports and artifacts."""
    questions: QuestionSource
    """Where its questions come from."""


class DecontaminationConfig(Section):
    """Questions to learn from that overlap with an evaluation set are set aside, so that the evaluation measures
    skill and not memory."""

    enabled: bool = True
    """Switch it off only to measure what contamination does: then nothing is compared with the evaluation sets."""
    words: int = Field(default=13, ge=5, le=1000)
    """A question is set aside if it shares so many words in a row with an evaluation question; shorter evaluation
    questions have to be the same as a whole. Case, punctuation and spacing do not count, and a formula is one word."""
    boilerplate_share: float = Field(default=0.01, gt=0, le=1)
    """Runs of words in more than this share of the questions to learn from (and in at least 5) are taken for a fixed
    wording of the data set, such as an instruction, and do not count. 1: every run counts."""
    sets: tuple[HeldOutSet, ...] = ()
    """Further sets to keep apart from, beside those of `evaluate.datasets`."""
