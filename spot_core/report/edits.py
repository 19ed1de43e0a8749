"""An edit made visible in Markdown: `~~old~~ **new**`, word by word, safe against whatever the text contains."""

import re

from spot_core.report.segments import segments

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
    pieces: list[str] = []
    for same, old, new in segments(rejected, rectified):
        pieces += [_plain(same), _change(old, new)]
    markdown = _BLOCK_MARKUP.sub(r"\1\\\2", "".join(pieces))
    return _LEADING_BLANKS.sub(
        lambda match: _NO_BREAK_SPACE * len(match.group()) if match[1] else "", markdown
    )


def _change(old: str, new: str) -> str:
    marked = [text for text in (_marked(old, "~~"), _marked(new, "**")) if text]
    return " ".join(marked)


def _marked(text: str, mark: str) -> str:
    """`text` between marks, line by line: a mark must touch a character that is not blank, and ends with its line."""
    return "  \n".join(_marked_line(line, mark) for line in text.split("\n"))


def _marked_line(line: str, mark: str) -> str:
    core = line.strip(" \t")
    if not core:
        return _escape(line)
    start = line.index(core)
    escaped = _escape(core)
    left = _ZERO_WIDTH_SPACE if not core[0].isalnum() else ""
    right = _ZERO_WIDTH_SPACE if not core[-1].isalnum() else ""
    return f"{line[:start]}{mark}{left}{escaped}{right}{mark}{line[start + len(core) :]}"


def _plain(text: str) -> str:
    return _escape(text).replace("\n", "  \n")


def _escape(text: str) -> str:
    """Text without any meaning to Markdown or HTML inside a line; control characters become visible."""
    visible = "".join(_visible(character) for character in text)
    return _INLINE_MARKUP.sub(r"\\\g<0>", visible).translate(_PAIRED)


def _visible(character: str) -> str:
    if character in _BLANK or character.isprintable():
        return character
    return "␀" if character == "\0" else f"\\u{ord(character):04x}"
