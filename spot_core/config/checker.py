"""How responses are checked."""

import functools
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from spot_core.config.base import Section

VerdictName = Literal["correct", "incorrect", "no_answer", "truncated", "ambiguous", "timeout"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

KINDS = ("math", "multiple_choice", "numeric", "exact", "pattern", "reasoning_gym")
"""The kinds of checking that come with the project."""
PLUGIN_GROUP = "spot.checkers"
"""Entry points under which installed packages add kinds; see `spot_core.checker.scorers`."""


class CheckerConfig(Section):
    """The answer checker of the filter stage."""

    kind: str = Field(default="math", min_length=1, max_length=100, examples=list(KINDS))
    """math: the stated final answer has to equal the gold answer. multiple_choice: its letter has to. numeric: its value
    has to lie within the tolerance. exact: the whole response has to be the gold answer. pattern: the gold answer is a
    regular expression for the whole response. reasoning_gym: the data set's own scorer decides. Or the name of a checker
    that an installed package adds as an entry point `spot.checkers`. Rows can name their own (columns.checker)."""

    tolerance: float = Field(default=0.01, ge=0, lt=1)
    """Relative; for the kind `numeric`."""

    answer_prefixes: tuple[str, ...] = ()
    """Further words that announce a final answer at the beginning of a line, such as `Antwort:`. Understood without
    this: \\boxed{}, <answer> tags, `####`, `Answer:`, `A:`, `the answer is`."""

    timeout_seconds: float = Field(default=2.0, gt=0, le=600)
    """Wall time of one comparison; its process is killed after that and the verdict is `timeout`."""

    memory_gb: float = Field(default=2.0, ge=1, le=64)
    """Address space of one checking process; a comparison that needs more ends with the verdict `timeout`."""

    workers: int = Field(default=0, ge=0)
    """Processes for the comparisons that need SymPy; 0 for one per core."""

    @field_validator("answer_prefixes")
    @classmethod
    def _prefixes_are_short_words(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not prefix.strip() or len(prefix) > 50 or "\n" in prefix:
                raise ValueError(
                    f"{prefix!r}: a prefix has 1 to 50 characters on one line, such as 'Antwort:'"
                )
        return prefixes

    @model_validator(mode="after")
    def _kind_exists(self) -> Self:
        require_kind(self.kind)
        return self


@functools.cache
def plugin_names() -> frozenset[str]:
    """Returns the kinds that installed packages add."""
    return frozenset(entry_points(group=PLUGIN_GROUP).names)


def require_kind(kind: str) -> None:
    """Refuses a kind of checking that is not installed.

    Raises:
        ValueError: neither the project nor an installed package has it.
    """
    known = [*KINDS, *sorted(plugin_names())]
    if kind not in known:
        raise ValueError(f"kind = {kind!r}: there is no such checker; there are {', '.join(known)}")
    if kind == "reasoning_gym" and find_spec("reasoning_gym") is None:
        raise ValueError(
            "kind = 'reasoning_gym' needs the package of this name: .venv/bin/uv pip install --python .venv/bin/python reasoning-gym"
        )
