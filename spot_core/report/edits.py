"""An edit made visible: cut into what is shared and what was changed, and as Markdown, `~~old~~ **new**`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from spot_core.change_ratio import edit_regions, shared_prefix_length

# Numbers, words, runs of blanks, single line breaks, and single other characters.
_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W_]+|[^\S\n]+|\n|.", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# Of an alignment of m × n pieces, whose bit matrix takes an eighth of a byte each: 32 MiB.
_MOST_CELLS = 2**28
_GAP = 4  # what is shared is little if the changes on both sides are this many times as long

_BLANK = frozenset(" \t\n")
# Backslashes, for Prefect's UI shows most HTML entities (`&#43;`) as they stand. What is no markup where it stands
# stays bare, so that the Markdown itself can be read: `48+8=46` has no escape.
_INLINE_MARKUP = re.compile(r"[\\*_\[\]&~|@]|:(?=//)|(?<=www)\.|(?<=\])\(", re.IGNORECASE)
# These two the UI (marked 4) pairs up even if escaped, and then sees no mark between them. It does decode `&lt;`;
# \u02cb looks like a backtick.
_PAIRED = str.maketrans({"<": "&lt;", "`": "\u02cb"})
# Headings, lists, quotes, rules and the second line of a table are markup at the beginning of a line only.
_BLOCK_MARKUP = re.compile(r"(?m)^([ \t]*(?:(?=[#+\-=>:])|[0-9]{1,9}(?=[.)](?:[ \t]|$))))(.)")
_LEADING_BLANKS = re.compile(r"(?m)^[ \t]+(?=(\S)|$)")  # four of them would begin a code block
_NO_BREAK_SPACE = "\u00a0"
# Marks do not open before or close after punctuation that touches a word outside; this invisible character keeps
# the two apart without being blank.
_ZERO_WIDTH_SPACE = "\u200b"


class Segment(NamedTuple):
    """`same` is in both texts; after it the rejected text has `old` where the rectified one has `new`."""

    same: str
    old: str
    new: str


def split_edit(rejected: str, rectified: str) -> list[Segment]:
    """Returns the segments of an edit: joining `same + old` gives the rejected text, `same + new` the rectified one.

    The alignment is a longest common subsequence of words. Texts too long for that are aligned line by line, and
    the changed lines word by word where that fits. Two changes are joined if what is between them is too little to
    read: blanks between words, or a sign between long passages.
    """
    return _join_across_gaps(_align(rejected, rectified, by=(_WORD, _LINE)))


def _align(rejected: str, rectified: str, *, by: Sequence[re.Pattern[str]]) -> list[Segment]:
    for pattern in by:
        old, new = pattern.findall(rejected), pattern.findall(rectified)
        start = shared_prefix_length(old, new)
        end = shared_prefix_length(old[start:][::-1], new[start:][::-1])
        head, tail = "".join(old[:start]), "".join(old[len(old) - end :])
        old, new = old[start : len(old) - end], new[start : len(new) - end]
        if len(old) * len(new) <= _MOST_CELLS:
            break
    else:
        return [Segment(head, "".join(old), "".join(new)), Segment(tail, "", "")]
    found = [Segment(head, "", "")]
    position = 0
    for region in edit_regions(old, new):
        same = "".join(old[position : region.rejected_start])
        changed = (
            "".join(old[region.rejected_start : region.rejected_end]),
            "".join(new[region.chosen_start : region.chosen_end]),
        )
        position = region.rejected_end
        if pattern is _WORD:
            found.append(Segment(same, *changed))
        else:
            found += [Segment(same, "", ""), *_align(*changed, by=(_WORD,))]
    return [*found, Segment("".join(old[position:]) + tail, "", "")]


def _join_across_gaps(found: list[Segment]) -> list[Segment]:
    """Returns the same texts in fewer segments: each but the last has a change, and none follows a mere gap."""
    joined: list[Segment] = []
    for same, old, new in found:
        if joined:
            before = joined[-1]
            if not (before.old or before.new):
                joined[-1] = Segment(before.same + same, old, new)
                continue
            if (old or new) and _is_gap(same, before, old + new):
                joined[-1] = Segment(before.same, before.old + same + old, before.new + same + new)
                continue
        joined.append(Segment(same, old, new))
    return joined if joined[-1] != Segment("", "", "") else joined[:-1]


def _is_gap(same: str, before: Segment, after: str) -> bool:
    """True if the text that is shared between two changes is less than a reader would look for."""
    blank = not same.strip(" \t") and bool(before.old and before.new)
    little = len(same) * _GAP <= min(len(before.old) + len(before.new), len(after))
    return "\n" not in same and (blank or little)


def render_edit(rejected: str, rectified: str) -> str:
    """Returns an edit word by word as Markdown. Markdown and HTML in the texts are escaped; line breaks are kept."""
    pieces: list[str] = []
    for same, old, new in split_edit(rejected, rectified):
        pieces += [_escape_lines(same), _mark_change(old, new)]
    markdown = _BLOCK_MARKUP.sub(r"\1\\\2", "".join(pieces))
    return _LEADING_BLANKS.sub(
        lambda match: _NO_BREAK_SPACE * len(match.group()) if match[1] else "", markdown
    )


def _mark_change(old: str, new: str) -> str:
    marked = [text for text in (_mark(old, "~~"), _mark(new, "**")) if text]
    return " ".join(marked)


def _mark(text: str, mark: str) -> str:
    """Returns the text between marks, line by line: a mark must touch a character that is not blank, and ends with its
    line."""
    return "  \n".join(_mark_line(line, mark) for line in text.split("\n"))


def _mark_line(line: str, mark: str) -> str:
    core = line.strip(" \t")
    if not core:
        return _escape(line)
    start = line.index(core)
    escaped = _escape(core)
    left = _ZERO_WIDTH_SPACE if not core[0].isalnum() else ""
    right = _ZERO_WIDTH_SPACE if not core[-1].isalnum() else ""
    return f"{line[:start]}{mark}{left}{escaped}{right}{mark}{line[start + len(core) :]}"


def _escape_lines(text: str) -> str:
    return _escape(text).replace("\n", "  \n")


def _escape(text: str) -> str:
    """Returns text that means nothing to Markdown or HTML inside a line; control characters become visible."""
    visible = "".join(_visible(character) for character in text)
    return _INLINE_MARKUP.sub(r"\\\g<0>", visible).translate(_PAIRED)


def _visible(character: str) -> str:
    if character in _BLANK or character.isprintable():
        return character
    return "␀" if character == "\0" else f"\\u{ord(character):04x}"
