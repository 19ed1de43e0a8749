"""Decides a row at once where that is cheap, else says what a worker has to compare."""

import re
from dataclasses import dataclass

from spot_core.checker.comparison import compare_fast
from spot_core.checker.extraction import extract_answer, visible_text
from spot_core.checker.leaves import Decision
from spot_core.checker.notation import normalised
from spot_core.checker.quantity import read_quantity
from spot_core.checker.verdict import CheckItem, Kind, Verdict

_LIST = re.compile(r"[,;]|\band\b|\bor\b")
_REPETITION = re.compile(r"[*+?{]")


@dataclass(frozen=True, slots=True)
class SlowCase:
    """A comparison that needs a killable process."""

    kind: Kind
    answer: str
    gold: str
    form: str
    """How the answer was stated; the first half of the verdict's `method`."""
    certain: bool = True
    """False: the comparison can make the row `correct`, never `incorrect`."""

    def verdict(self, decision: Decision) -> Verdict:
        """The row's verdict once the comparison is made."""
        outcome, rule = decision
        if outcome == "incorrect" and not self.certain:
            outcome = "ambiguous"
        return Verdict(outcome, self.answer, f"{self.form}/{rule}")


def decide(item: CheckItem) -> Verdict | SlowCase:
    """The verdict by the fast rules, or the comparison that is left for a worker."""
    if item.finish_reason == "length":
        return Verdict("truncated", None, "finish_reason")
    return _decide_math(item) if item.kind == "math" else _decide_whole(item)


def _decide_math(item: CheckItem) -> Verdict | SlowCase:
    extraction = extract_answer(item.response)
    if extraction is None:
        return Verdict("no_answer", None, "no_final_answer")
    answer, certain = extraction.answer, extraction.certain
    if extraction.box_list is not None and _is_list(item.gold):
        # Which boxes belong to the list is a reading of the text: it can confirm the gold, not refute it.
        answer, certain = extraction.box_list, False
    case = SlowCase("math", answer, item.gold, extraction.form, certain)
    decision = compare_fast(answer, item.gold)
    return case if decision is None else case.verdict(decision)


def _decide_whole(item: CheckItem) -> Verdict | SlowCase:
    answer = visible_text(item.response).strip()
    if not answer:
        return Verdict("no_answer", None, "empty_response")
    case = SlowCase(item.kind, answer, item.gold, "whole_response")
    if item.kind == "exact":
        return case.verdict(("correct" if answer == item.gold.strip() else "incorrect", "exact"))
    try:
        pattern = re.compile(item.gold, re.DOTALL)
    except re.error:
        return case.verdict(("ambiguous", "invalid_pattern"))
    if _may_backtrack(item.gold):
        return case
    return case.verdict(("correct" if pattern.fullmatch(answer) else "incorrect", "pattern"))


def _may_backtrack(pattern: str) -> bool:
    """Whether matching could take more than linear time; one repetition outside any group cannot."""
    return "(" in pattern or len(_REPETITION.findall(pattern)) > 1


def _is_list(gold: str) -> bool:
    gold = normalised(gold)
    return _LIST.search(gold) is not None and read_quantity(gold) is None
