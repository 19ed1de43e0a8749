"""Small pieces of Markdown, safe against whatever a model wrote."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_MOST_CHARACTERS = 1500


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; cells are escaped."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """One table cell on one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).replace("\n", " ⏎ ")
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", text)


def block(text: str) -> str:
    """Text exactly as it is, in a fence that it cannot close; long texts are shortened, saying so."""
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}\n… ({len(text) - _MOST_CHARACTERS:,} more characters)"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def details(title: str, body: str) -> str:
    """A part that opens on click."""
    return f"<details><summary>{cell(title)}</summary>\n\n{body}\n\n</details>"


def percent(share: float | None, half_width: float | None = None) -> str:
    """A share as a percentage, with the half width of its 95 % interval if given."""
    if share is None:
        return "–"
    spread = "" if half_width is None else f" ± {100 * half_width:.1f}"
    return f"{100 * share:.1f}{spread} %"
