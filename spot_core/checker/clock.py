"""Times of day: `4:30 p.m.`, `16:30`, `noon`."""

import re
from dataclasses import dataclass

_TIME = re.compile(
    r"(?:at )?(?P<hour>\d{1,2})(?:\s?[:.]\s?(?P<minute>[0-5]\d)(?:\s?:\s?[0-5]\d)?)?\s*(?P<half>[ap])\.?\s?m\.?|"
    r"(?P<sharp>\d{1,2})\s*o'?\s?clock|(?P<hour24>\d{1,2})\s?:\s?(?P<minute24>[0-5]\d)",
    re.IGNORECASE,
)
_NAMED = {"noon": 720, "midday": 720, "12 noon": 720, "midnight": 0, "12 midnight": 0}
HALF_DAY = 720


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in minutes after midnight; `certain`: False where it may be either half of the day."""

    minutes: int
    certain: bool

    def same_as(self, other: "Clock") -> bool:
        """Whether both can mean the same time."""
        period = 2 * HALF_DAY if self.certain and other.certain else HALF_DAY
        return (self.minutes - other.minutes) % period == 0


def read_clock(text: str) -> Clock | None:
    """The time of day that the normalised answer consists of, or None."""
    if (minutes := _NAMED.get(text.casefold())) is not None:
        return Clock(minutes, certain=True)
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute = (
        int(match["hour"] or match["sharp"] or match["hour24"]),
        int(match["minute"] or match["minute24"] or 0),
    )
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        return Clock(hour % 12 * 60 + minute + HALF_DAY * (match["half"].lower() == "p"), certain=True)
    return Clock(hour % 24 * 60 + minute, certain=hour > 12 or hour == 0) if hour <= 24 else None
