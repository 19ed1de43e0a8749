"""Finds questions that overlap with questions held out for evaluation: the same as a whole, or a long run of words.

A run that many of the questions to learn from have in common is a fixed wording of the data set ("boilerplate"), and
proves nothing. Only runs of the held-out questions are counted, so memory follows their number.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from spot_core.datasets.repeats import Wording, wording

FEWEST_BOILERPLATE = 5
"""Questions that must share a run before it can be boilerplate: in a small set a share alone says little."""

Run = tuple[str, ...]


@dataclass
class Overlaps:
    """What was found."""

    reasons: dict[int, str] = field(default_factory=dict)
    """Why a question is set aside, by its place in the list."""
    boilerplate: list[str] = field(default_factory=list)
    """Runs of words that were not counted, the most frequent first."""


def find_overlaps(
    questions: list[str],
    *,
    held_out: dict[str, Iterable[str]],
    shown: Iterable[str],
    words: int,
    boilerplate_share: float,
) -> Overlaps:
    """Decides which questions have to be set aside.

    Args:
        questions: the questions to learn from.
        held_out: held-out questions, by the name of their set.
        shown: questions that the prompt shows with their answers; only the whole question counts.
        words: length of a run that counts.
        boilerplate_share: share of the questions beyond which a run in them is boilerplate.
    """
    whole: dict[Run, str] = {}
    runs: dict[Run, str] = {}
    for name, texts in held_out.items():
        for said in map(wording, texts):
            whole.setdefault(said.tokens, f"the evaluation set {name!r}")
            runs |= {run: name for run in _runs(said, words) if run not in runs}
    whole |= {wording(text).tokens: "prompt.examples" for text in shown}

    overlaps, hits, counts = Overlaps(), dict[int, Wording](), Counter[Run]()
    for number, text in enumerate(questions):
        said = wording(text)
        if place := whole.get(said.tokens):
            overlaps.reasons[number] = f"held_out: also a question of {place}"
        if found := dict.fromkeys(run for run in _runs(said, words) if run in runs):
            hits[number] = said
            counts.update(found.keys())
    limit = max(FEWEST_BOILERPLATE, int(boilerplate_share * len(questions)) + 1)
    boilerplate = {run: None for run, count in counts.most_common() if count >= limit}
    overlaps.boilerplate = [" ".join(run) for run in boilerplate]
    for number, said in hits.items():
        if number not in overlaps.reasons and (run := _telling(said, words, runs, boilerplate)):
            overlaps.reasons[number] = (
                f"held_out: {words} words in a row of a question of the evaluation set {runs[run]!r}: {' '.join(run)}"
            )
    return overlaps


def _runs(said: Wording, length: int) -> Iterator[Run]:
    words = said.words
    return (words[start : start + length] for start in range(len(words) - length + 1))


def _telling(
    said: Wording, length: int, held_out: dict[Run, str], boilerplate: dict[Run, None]
) -> Run | None:
    """The first held-out run that has no word of a boilerplate run in it: one word beyond an instruction proves
    no more than the instruction itself."""
    fixed: set[int] = set()
    for start, run in enumerate(_runs(said, length)):
        if run in boilerplate:
            fixed.update(range(start, start + length))
    for start, run in enumerate(_runs(said, length)):
        if run in held_out and fixed.isdisjoint(range(start, start + length)):
            return run
    return None
