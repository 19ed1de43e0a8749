"""The bare text of a correction made elsewhere: without markers, thinking, and what was said around it.

The paper's pipeline has its Oracle write `=== CORRECTED STARTED ===` and `=== CORRECTED ENDED ===` around a correction
and stores the reply as it came: with the markers, with inexact forms of them, or without. None may become part of y⁺.
"""

import re

from spot_core.oracles.prompting import UnparseableReplyError, in_the_blanks_of

_BEGIN = r"(?:START(?:ED|S|ING)?|BEGIN(?:S|NING)?)"
_END = r"(?:END(?:ED|S|ING)?|FINISH(?:ED)?)"
_WHAT = r"CORRECT(?:ED|IONS?)(?:[ \t_-]+(?:ANSWER|RESPONSE|SOLUTION|TRACE|VERSION))?"
_GAP = r"[ \t_-]+(?:OF[ \t_-]+)?(?:THE[ \t_-]+)?"


def _said(edge: str) -> str:
    return rf"(?:{_WHAT}{_GAP}{edge}|{edge}{_GAP}{_WHAT})"


# Quantifiers with a + at their end give nothing back: a text of 100,000 equal signs is gone through once.
_SIGNS = r"(?:[^\w\n]|_)*+"
_BAR = r"(?<!=)={2,}+"
_QUOTES = r"(?P<quoted>\*\*|``|[`*'\"“])?"
_UNQUOTES = r"(?:''|(?(quoted)(?:\*\*|``|[`*'\"”])))?"


def _marker(edge: str) -> re.Pattern[str]:
    """The words alone on a line, with whatever signs around them; or within a line, between `==`."""
    alone = rf"^{_SIGNS}{_said(edge)}{_SIGNS}$"
    short = rf"^[^\w\n=]*+{_BAR}[ \t]*{edge}[ \t]*{_BAR}[^\w\n=]*+$"
    within = rf"{_QUOTES}{_BAR}[ \t]*{_said(edge)}[ \t]*{_BAR}{_UNQUOTES}"
    return re.compile(f"{alone}|{short}|{within}", re.IGNORECASE | re.MULTILINE)


_STARTS, _ENDS = _marker(_BEGIN), _marker(_END)
# What still looks like a marker: the words in capitals, between `==`, or with others on a line between `==`.
_REMAINS = re.compile(
    rf"CORRECT(?:ED|IONS?)[\W_]+(?:{_BEGIN}|{_END})"
    rf"|{_BAR}[ \t]*(?i:{_WHAT})[ \t]*{_BAR}"
    rf"|^[^\w\n=]*+{_BAR}(?i:[^=\n]{{0,40}}\b(?:{_BEGIN}|{_END}|{_WHAT})\b[^=\n]{{0,40}}){_BAR}[^\w\n=]*+$",
    re.MULTILINE,
)
_THINKING = re.compile(r"<(/?)(?:think(?:ing)?|thoughts?|reasoning)>", re.IGNORECASE)


def bare_correction(reply: str, response: str) -> str:
    """The correction in a reply, with the white space around it that ``response`` has.

    Thinking tags, and markers that do not speak of a correction, are left where ``response`` has them too: it is the
    policy's own way to write.

    Raises:
        UnparseableReplyError: it is not clear where the correction begins and ends, or nothing is left of it.
    """
    text = _between_markers(_after_thinking(reply, response), response)
    if not text.strip():
        raise UnparseableReplyError("the correction is empty")
    if _thinking_in(text, response):
        raise UnparseableReplyError("thinking begins in the correction and does not end")
    if remains := _own(_REMAINS, text, response):
        raise UnparseableReplyError(
            f"something like a marker is part of the correction: {remains[0].group()!r:.60}"
        )
    return in_the_blanks_of(response, text)


def _own(pattern: re.Pattern[str], text: str, response: str) -> list[re.Match[str]]:
    """Where the pattern occurs in a text, but for words of the response that do not speak of a correction."""
    found = pattern.finditer(text)
    return [one for one in found if "CORRECT" in one[0].upper() or one[0].strip() not in response]


def _thinking_in(text: str, response: str) -> list[re.Match[str]]:
    return [] if _THINKING.search(response) else list(_THINKING.finditer(text))


def _after_thinking(reply: str, response: str) -> str:
    closed = [tag.end() for tag in _thinking_in(reply, response) if tag[1]]
    return reply[closed[-1] :] if closed else reply


def _between_markers(text: str, response: str) -> str:
    """What stands after the start marker and before the end marker, as far as there are any."""
    starts, ends = _own(_STARTS, text, response), _own(_ENDS, text, response)
    if len(starts) > 1:
        raise UnparseableReplyError(f"the correction starts {len(starts)} times")
    begin = starts[0].end() if starts else 0
    if not ends:
        return text[begin:]
    if ends[0].start() < begin:
        raise UnparseableReplyError("the end marker stands before the start marker")
    if text[ends[0].end() : ends[-1].start()].strip():
        raise UnparseableReplyError(f"the correction ends {len(ends)} times")
    return text[begin : ends[0].start()]
