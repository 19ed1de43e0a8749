"""Pieces of Markdown that untrusted text cannot break: tables, fences, foldable details; and shares as percentages."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_MOST_CHARACTERS = 1500
_MARKUP = re.compile(r"[\\*_{}\[\]#|~!$:@]")
# Prefect's UI decodes these references and no others; it pairs backticks even where they are escaped.
_REFERENCES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "\u02cb"})
_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode categories: controls, surrogates, separators
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table; cells are escaped."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Returns text on one line that means nothing to Markdown or HTML, for a table cell or a heading."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return _MARKUP.sub(r"\\\g<0>", _one_line(str(value))).translate(_REFERENCES)


def _one_line(text: str) -> str:
    return visible(_LINE_END.sub(" ⏎ ", text))


def visible(text: str) -> str:
    """Returns the text with every control character spelled out, also those that turn the direction of writing."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if character in _DIRECTIONS or unicodedata.category(character) in _INVISIBLE:
        return "␀" if character == "\0" else f"\\u{ord(character):04x}"
    return character


def block(text: str, *, most: int = _MOST_CHARACTERS) -> str:
    """Returns text in a fence that it cannot close; beyond `most` characters it is shortened, which a line says."""
    text = _shortened(text, most)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def details(title: str, **texts: str) -> str:
    """Returns a part that opens on click and shows each text under its name.

    It is one line of HTML: a blank line would end it, and Prefect's UI would show what follows outside of it.
    """
    body = "".join(f"<b>{name}</b><pre>{_preformatted(text)}</pre>" for name, text in texts.items())
    return f"<details><summary>{escape(_one_line(title))}</summary>{body}</details>"


def _preformatted(text: str) -> str:
    # A line break right behind <pre> is swallowed by browsers; one more is not.
    return "&#10;" + escape(_shortened(text)).replace("\n", "&#10;")


def _shortened(text: str, most: int = _MOST_CHARACTERS) -> str:
    text = text.replace("\r\n", "\n")
    if len(text) <= most:
        return visible(text)
    return f"{visible(text[:most])}\n… ({len(text) - most:,} more characters)"


def percent(share: float | None, half_width: float | None = None) -> str:
    """Returns a share as a percentage, with the half width of its 95 % interval if given."""
    if share is None:
        return "–"
    spread = "" if half_width is None else f" ± {100 * half_width:.1f}"
    return f"{100 * share:.1f}{spread} %"


def points(change: float, half_width: float) -> str:
    """Returns a change of a share in percentage points, with the half width of its 95 % interval."""
    return f"{100 * change:+.1f} ± {100 * half_width:.1f} points"
