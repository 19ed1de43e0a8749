"""What may be wrong with an edit although its answer is right and its change ratio small."""

import re

from spot_core.change_ratio import edit_regions
from spot_core.config.flags import QUALITY_FLAGS, QualityFlag
from spot_core.oracles.base import Failure
from spot_core.rectification.endings import read_ending
from spot_core.rectification.meta_talk import meta_phrases

AVOID: dict[QualityFlag, str] = {
    "answer_only": (
        "it replaces the final value, but the steps still lead to the old one: repair the step that goes wrong and what "
        "follows from it, so that the steps lead to the answer"
    ),
    "edit_after_answer": "it adds text after the final answer: end where the student ends, with the final answer",
    "length_drift": (
        "it is less than half or more than twice as long as the student's solution: keep what is right, and be as brief "
        "or as thorough as the student where something has to be new"
    ),
    "meta_talk": (
        "it speaks of the repair, of a mistake or of the reference: write only what the student would have written"
    ),
}
"""What an Oracle is told about an edit that was not accepted for a flag."""
assert tuple(AVOID) == QUALITY_FLAGS

SHORTEST, LONGEST = 0.5, 2.0
"""Length of y⁺ over y⁻, in tokens, that counts as the same style. R does not see deletions, so nothing else bounds how
much an edit drops; and at γ = 0.6 an accepted edit can be up to 2.5 times as long."""
FEWEST_TOKENS = 32
"""A shorter y⁻ holds a step at most, which one more step doubles: its length says nothing about style."""
MAX_UNIT_WORDS = 4
"""New words after the answer that can still be its unit, in the same sentence."""

_COMMAND = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W_]+")


def quality_flags(failure: Failure, rectified: str, *, rectified_tokens: int) -> list[QualityFlag]:
    """The flags of an edit, in the order of `QUALITY_FLAGS`; `rectified_tokens` is its length in tokens of the policy."""
    from spot_core.rectification.answer_only import is_answer_only  # noqa: PLC0415 - SymPy takes half a second

    found: dict[QualityFlag, bool] = {
        "answer_only": is_answer_only(failure.response, rectified, failure.question),
        "edit_after_answer": _adds_after_answer(failure.response, rectified),
        "length_drift": _drifts(failure, rectified_tokens),
        "meta_talk": bool(meta_phrases(rectified, known=(failure.question, failure.response))),
    }
    return [flag for flag in QUALITY_FLAGS if found[flag]]


def _adds_after_answer(rejected: str, chosen: str) -> bool:
    """Whether words follow the final answer that y⁻ did not have there, other than the answer itself and its unit."""
    old, new = read_ending(rejected), read_ending(chosen)
    if new is None:
        return False
    sides = [_words(rejected if old is None else old.same_sentence + old.after)]
    sides.append(_words(new.same_sentence + new.after))
    allowed = {word for ending in (old, new) if ending for word in _words(ending.answer)}
    beside = len(_words(new.same_sentence))  # words of the answer's own sentence
    added = [
        place
        for region in edit_regions(*sides)
        for place in range(region.chosen_start, region.chosen_end)
        if sides[1][place] not in allowed
    ]
    return any(place >= beside for place in added) or len(added) > MAX_UNIT_WORDS


def _words(text: str) -> list[str]:
    return _WORD.findall(_COMMAND.sub(" ", text).lower())


def _drifts(failure: Failure, rectified_tokens: int) -> bool:
    """Whether the length of y⁺ is out of bounds; never for a y⁻ that was cut off, whose length is the limit's."""
    length = len(failure.response_token_ids)
    if failure.finish_reason == "length" or length < FEWEST_TOKENS:
        return False
    return not SHORTEST <= rectified_tokens / length <= LONGEST
