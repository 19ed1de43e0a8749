"""How far a stage is: what it reports, with its speed and the time left. It travels as text from process to process."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True)
class Reached:
    """A moment of a stage's work."""

    done: int
    total: int
    unit: str
    """What is counted: responses, pairs, optimizer steps."""
    seconds: float = 0.0
    """Since counting began."""
    counted: int = 0
    """How many were done in that time; others were done before."""
    note: str = ""
    """How it goes, in a few words."""

    @property
    def percent(self) -> float:
        return 100.0 * self.done / max(1, self.total)

    @property
    def per_second(self) -> float | None:
        """Speed, once something was counted."""
        return self.counted / self.seconds if self.counted > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until all are done at the speed so far; None where nobody can know."""
        if self.done >= self.total or not self.per_second:
            return None
        return (self.total - self.done) / self.per_second

    def __str__(self) -> str:
        if not self.total:
            return self.note
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        return f"{self.done:,} of {self.total:,} {self.unit}{left}" + (f"; {self.note}" if self.note else "")

    def as_texts(self) -> dict[str, str]:
        """For the metadata of a Prefect artifact, which are texts."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self | None:
        """What `as_texts` wrote; None for anything else."""
        try:
            return cls(
                int(texts["done"]),
                int(texts["total"]),
                texts["unit"],
                float(texts["seconds"]),
                int(texts["counted"]),
                texts["note"],
            )
        except (KeyError, ValueError):
            return None


def duration(seconds: float) -> str:
    """In words, as exactly as it matters."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
