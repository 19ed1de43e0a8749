"""An edit made visible in Markdown: `~~old~~ **new**`, word by word, safe against whatever the text contains."""

import re
from collections.abc import Sequence

from spot_core.change_ratio import edit_regions

# Numbers, words, runs of blanks, single line breaks, and single other characters.
_PIECE = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W_]+|[^\S\n]+|\n|.", re.DOTALL)
_BLANK = frozenset(" \t\n")
# Backslashes, for Prefect's UI shows most HTML entities (`&#43;`) as they stand. What is no markup where it stands
# stays bare, so that the Markdown itself can be read: `48+8=46` has no escape.
_INLINE_MARKUP = re.compile(r"[\\*_\[\]&~|@]|:(?=//)|(?<=www)\.|(?<=\])\(", re.IGNORECASE)
# These two the UI (marked 4) pairs up even if escaped, and then sees no mark between them. It does decode `&lt;`;
# the letter beside it looks like a backtick.
_PAIRED = str.maketrans({"<": "&lt;", "`": "\u02cb"})
# Headings, lists, quotes, rules and the second line of a table are markup at the beginning of a line only.
_BLOCK_MARKUP = re.compile(r"(?m)^([ \t]*(?:(?=[#+\-=>:])|[0-9]{1,9}(?=[.)](?:[ \t]|$))))(.)")
_LEADING_BLANKS = re.compile(r"(?m)^[ \t]+(?=(\S)|$)")  # four of them would begin a code block
_NO_BREAK_SPACE = "\u00a0"
# Marks do not open before or close after punctuation that touches a word outside; this invisible character keeps
# the two apart without being blank.
_ZERO_WIDTH_SPACE = "\u200b"


def edit_markdown(rejected: str, rectified: str) -> str:
    """A word-level diff as Markdown. All Markdown and HTML in the texts is escaped; line breaks stay line breaks."""
    old, new = _PIECE.findall(rejected), _PIECE.findall(rectified)
    pieces: list[str] = []
    position = 0
    for region in edit_regions(old, new):
        pieces.append(_plain(old[position : region.rejected_start]))
        pieces.append(
            _change(
                old[region.rejected_start : region.rejected_end],
                new[region.chosen_start : region.chosen_end],
            )
        )
        position = region.rejected_end
    pieces.append(_plain(old[position:]))
    markdown = _BLOCK_MARKUP.sub(r"\1\\\2", "".join(pieces))
    return _LEADING_BLANKS.sub(
        lambda match: _NO_BREAK_SPACE * len(match.group()) if match[1] else "", markdown
    )


def _change(old: Sequence[str], new: Sequence[str]) -> str:
    marked = [text for text in (_marked(old, "~~"), _marked(new, "**")) if text]
    return " ".join(marked)


def _marked(words: Sequence[str], mark: str) -> str:
    """`words` between marks, line by line: a mark must touch a character that is not blank, and ends with its line."""
    lines = "".join(words).split("\n")
    return "  \n".join(_marked_line(line, mark) for line in lines)


def _marked_line(line: str, mark: str) -> str:
    core = line.strip(" \t")
    if not core:
        return _escape(line)
    start = line.index(core)
    escaped = _escape(core)
    left = _ZERO_WIDTH_SPACE if not core[0].isalnum() else ""
    right = _ZERO_WIDTH_SPACE if not core[-1].isalnum() else ""
    return f"{line[:start]}{mark}{left}{escaped}{right}{mark}{line[start + len(core) :]}"


def _plain(words: Sequence[str]) -> str:
    return _escape("".join(words)).replace("\n", "  \n")


def _escape(text: str) -> str:
    """Text without any meaning to Markdown or HTML inside a line; control characters become visible."""
    visible = "".join(_visible(character) for character in text)
    return _INLINE_MARKUP.sub(r"\\\g<0>", visible).translate(_PAIRED)


def _visible(character: str) -> str:
    if character in _BLANK or character.isprintable():
        return character
    return "␀" if character == "\0" else f"\\u{ord(character):04x}"
