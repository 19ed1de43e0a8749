"""A question with its answer, and the rule that puts it into one split for good."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

Split = Literal["train", "evaluation"]
SPLITS: tuple[Split, ...] = get_args(Split)

EVALUATION_ONE_IN = 5
"""One question in so many belongs to the evaluation split."""


@dataclass(frozen=True)
class Item:
    """One question. Items with equal `split_key` fall into the same split."""

    question: str
    answer: str
    split_key: str


def split_of(key: str) -> Split:
    """Split of a question: a function of its text alone, so no seed or count can make splits overlap."""
    number = int.from_bytes(sha256(key.encode()).digest()[:8], "big")
    return "evaluation" if number % EVALUATION_ONE_IN == 0 else "train"
