"""How a response ends: the reasoning, the statement of the final answer, and what follows it."""

import re
from dataclasses import dataclass

from spot_core.checker.extraction import Extraction, extract_answer, visible_text

MAX_REPEATS = 4
"""Statements of the answer that may follow each other at the end, as in `The answer is 5.` and `#### 5`."""
_ANNOUNCED = frozenset({"boxed", "answer_tag", "a_line", "answer_line", "answer_sentence"})
_NOTHING_MORE = re.compile(r"(?:\\[\])]|\\end\{[^{}]*\}|[\s$*_`.,;!。])*")
_PIECE_END = re.compile(r"(?<=[.!?:;])[ \t]")
_SENTENCE_END = re.compile(r"[.!?。](?=\s|\Z)|\n")


@dataclass(frozen=True, slots=True)
class Ending:
    """A response in three parts."""

    reasoning: str
    """All before the first of the closing statements, without the words that lead over to it."""
    stated: str
    """All up to the end of the answer."""
    answer: str
    same_sentence: str
    """What follows the answer in its own sentence: a unit, the end of a formula."""
    after: str
    """What follows that sentence."""


def read_ending(response: str) -> Ending | None:
    """The parts of a response that states a final answer, by the checker's own extraction; else None.

    None also where the place of the answer is unclear, because hidden thinking stands between the visible parts.
    """
    found = _located(response)
    if found is None:
        return None
    extraction, start, end = found
    for _ in range(MAX_REPEATS):
        earlier = _located(response[:start])
        if earlier is None or earlier[0].form not in _ANNOUNCED:
            break
        _, earlier_start, earlier_end = earlier
        if not _NOTHING_MORE.fullmatch(response[earlier_end:start]):
            break
        start = earlier_start
    rest = response[end:]
    sentence_end = match.end() if (match := _SENTENCE_END.search(rest)) else len(rest)
    return Ending(
        reasoning=_without_lead_in(response[:start]),
        stated=response[:end],
        answer=extraction.answer,
        same_sentence=rest[:sentence_end],
        after=rest[sentence_end:],
    )


def _located(response: str) -> tuple[Extraction, int, int] | None:
    """The final answer with where its statement starts and ends in the response."""
    extraction = extract_answer(response)
    shown = visible_text(response)
    offset = response.rfind(shown)
    if extraction is None or offset < 0:
        return None
    return extraction, offset + extraction.start, offset + extraction.end


def _without_lead_in(text: str) -> str:
    """Without `So the answer is $` at the end: the last sentence or line, if there is no digit in it."""
    text = text.rstrip()
    line = text.rfind("\n") + 1
    last = max((match.end() for match in _PIECE_END.finditer(text, line)), default=line)
    return text if any(map(str.isdigit, text[last:])) else text[:last].rstrip()
