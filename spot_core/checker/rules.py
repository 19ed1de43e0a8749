"""Decides a row at once where that is cheap, else says what a worker has to compare."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from spot_core.checker.comparison import MAX_GOLD_CHARS, compare_fast
from spot_core.checker.extraction import MAX_SHORT_ANSWER, Extraction, extract_answer, visible_text
from spot_core.checker.leaves import chosen_letters
from spot_core.checker.notation import normalised
from spot_core.checker.quantity import Quantity, in_unit_of, read_quantity
from spot_core.checker.scorers import within
from spot_core.checker.verdict import CheckItem, Decision, Verdict

_LIST = re.compile(r"[,;]|\band\b|\bor\b|\\pm|±")
_REPETITION = re.compile(r"[*+?{]")


@dataclass(frozen=True, slots=True)
class SlowCase:
    """A comparison that needs a killable process."""

    kind: str
    answer: str
    gold: str
    form: str
    """How the answer was stated; the first half of the verdict's `method`."""
    certain: bool = True
    """False: the comparison can make the row `correct`, never `incorrect`."""
    metadata: str | None = None
    tolerance: float = 0.0

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
    if item.kind in ("numeric", "multiple_choice") and len(item.gold) > MAX_GOLD_CHARS:
        return Verdict("ambiguous", None, "gold_too_long")
    return _RULES.get(item.kind, _whole)(item)


def _extracted(item: CheckItem) -> Extraction | Verdict:
    found = extract_answer(item.response, item.prefixes)
    return Verdict("no_answer", None, "no_final_answer") if found is None else found


def _decide_math(item: CheckItem) -> Verdict | SlowCase:
    extraction = _extracted(item)
    if isinstance(extraction, Verdict):
        return extraction
    answer, certain = extraction.answer, extraction.certain
    decision = compare_fast(answer, item.gold)
    confirmed = decision is not None and decision[0] == "correct"
    if extraction.box_list is not None and not confirmed and _is_list(item.gold):
        # Which boxes belong to the list is a reading of the text: it can confirm the gold, not refute it.
        answer, certain = extraction.box_list, False
        decision = compare_fast(answer, item.gold)
    case = SlowCase("math", answer, item.gold, extraction.form, certain)
    return case if decision is None else case.verdict(decision)


def _decide_numeric(item: CheckItem) -> Verdict | SlowCase:
    extraction = _extracted(item)
    if isinstance(extraction, Verdict):
        return extraction
    case = SlowCase(
        "numeric", extraction.answer, item.gold, extraction.form, extraction.certain, tolerance=item.tolerance
    )
    given, wanted = read_quantity(normalised(extraction.answer)), read_quantity(normalised(item.gold))
    if given is None or wanted is None:
        return case
    given = in_unit_of(given, wanted) or given if given.unit and wanted.unit else given
    if given.unit and wanted.unit and given.unit != wanted.unit:
        return case.verdict(("ambiguous", "unit"))
    pairs = [(given.value, wanted.value), (_share(given), _share(wanted))]
    close = any(within(*pair, item.tolerance) for pair in pairs)
    return case.verdict(("correct" if close else "incorrect", "tolerance"))


def _share(quantity: Quantity) -> Fraction:
    return quantity.value / 100 if quantity.percent else quantity.value


def _decide_choice(item: CheckItem) -> Verdict | SlowCase:
    extraction = _extracted(item)
    if isinstance(extraction, Verdict):
        # A response that is nothing but an option's mark announces nothing.
        whole = visible_text(item.response).strip()
        if len(whole) > MAX_SHORT_ANSWER:
            return extraction
        extraction = Extraction(whole, "whole_response", certain=False)
    case = SlowCase(item.kind, extraction.answer, item.gold, extraction.form, extraction.certain)
    given, wanted = chosen_letters(normalised(extraction.answer)), chosen_letters(normalised(item.gold))
    if wanted is None:
        return case.verdict(("ambiguous", "gold_is_no_option"))
    if given is None:
        if extraction.form == "whole_response":
            return Verdict("no_answer", None, "no_final_answer")
        return case.verdict(("ambiguous", "no_option"))
    outcome = "correct" if given == wanted else "incorrect"
    return Verdict(outcome, extraction.answer, f"{extraction.form}/option")


def _whole(item: CheckItem) -> SlowCase | Verdict:
    answer = visible_text(item.response).strip()
    if not answer:
        return Verdict("no_answer", None, "empty_response")
    return SlowCase(item.kind, answer, item.gold, "whole_response", metadata=item.metadata)


def _decide_exact(item: CheckItem) -> Verdict | SlowCase:
    case = _whole(item)
    if isinstance(case, Verdict):
        return case
    return case.verdict(("correct" if case.answer == item.gold.strip() else "incorrect", "exact"))


def _decide_pattern(item: CheckItem) -> Verdict | SlowCase:
    case = _whole(item)
    if isinstance(case, Verdict):
        return case
    try:
        pattern = re.compile(item.gold, re.DOTALL)
    except (re.error, ValueError, RecursionError, OverflowError):
        return case.verdict(("ambiguous", "invalid_pattern"))
    if _may_backtrack(item.gold):
        return case
    return case.verdict(("correct" if pattern.fullmatch(case.answer) else "incorrect", "pattern"))


def _decide_reasoning_gym(item: CheckItem) -> Verdict | SlowCase:
    extraction = extract_answer(item.response, item.prefixes)
    if extraction is None or extraction.form not in ("boxed", "answer_tag"):
        # Answers can be grids of several lines, of which other forms would take the first.
        whole = _whole(item)
        return whole if isinstance(whole, Verdict) else replace(whole, certain=False)
    return SlowCase(item.kind, extraction.answer, item.gold, extraction.form, metadata=item.metadata)


_RULES: dict[str, Callable[[CheckItem], Verdict | SlowCase]] = {
    "math": _decide_math,
    "multiple_choice": _decide_choice,
    "numeric": _decide_numeric,
    "exact": _decide_exact,
    "pattern": _decide_pattern,
    "reasoning_gym": _decide_reasoning_gym,
}


def _may_backtrack(pattern: str) -> bool:
    """Whether matching could take more than linear time; one repetition outside any group cannot."""
    return "(" in pattern or len(_REPETITION.findall(pattern)) > 1


def _is_list(gold: str) -> bool:
    gold = normalised(gold)
    return _LIST.search(gold) is not None and read_quantity(gold) is None
