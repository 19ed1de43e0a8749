"""Reads questions (and responses that exist already) from files, the Hugging Face hub and generators."""

from spot_core.datasets.questions import Questions, content_digest, read_questions
from spot_core.datasets.rows import question_id

__all__ = ["Questions", "content_digest", "question_id", "read_questions"]
