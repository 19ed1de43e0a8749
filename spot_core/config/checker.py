"""How responses are checked."""

from typing import Literal

from pydantic import Field

from spot_core.config.base import Section


class CheckerConfig(Section):
    """The answer checker of the filter stage."""

    kind: Literal["math", "exact", "pattern"] = "math"
    """math: the stated final answer has to equal the gold answer. exact: the whole response has to be the gold answer.
    pattern: the gold answer is a regular expression for the whole response."""

    timeout_seconds: float = Field(default=2.0, gt=0, le=600)
    """Wall time of one comparison; its process is killed after that and the verdict is `timeout`."""

    workers: int = Field(default=0, ge=0)
    """Processes for the comparisons that need SymPy; 0 for one per core."""
