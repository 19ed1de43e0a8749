"""What the checker is asked and what it answers."""

from dataclasses import dataclass, field

from spot_core.config.checker import VerdictName

Decision = tuple[str, str]
"""(verdict, name of the rule that decided)"""

CHECKER_VERSION: int = 2
"""Raised whenever any verdict can change; part of the filter artifact's key."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one response.

    `correct` and `incorrect` are certain. `no_answer`: nothing was stated as the final answer. `truncated`: the
    response hit its token limit. `ambiguous`: careful readers could disagree, or the comparison engine could
    not read an answer. `timeout`: the time or memory limit ended the comparison.
    """

    verdict: VerdictName
    extracted_answer: str | None
    """The final answer as it stands in the response; None where there is none."""
    method: str
    """The rule that decided, such as `boxed/numeric` (how the answer was found / how it was compared)."""
    seconds: float = field(default=0.0, compare=False)
    """Time the check took, up to the time limit; no part of what the verdict says, so equal verdicts may differ in it."""


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One response with the gold answer it has to match."""

    response: str
    gold: str
    kind: str = "math"
    finish_reason: str | None = None
    """As the inference server reports it; only `length` matters here."""
    metadata: str | None = None
    """JSON object for checkers that need more than the gold answer (reasoning_gym, plug-ins)."""
    tolerance: float = 0.0
    """Relative; for the kind `numeric`."""
    prefixes: tuple[str, ...] = ()
    """Further words that announce a final answer, such as `Antwort:`."""
