"""Splits a formula at separators that stand outside its brackets and braces."""

import re
from collections.abc import Callable

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|[A-Za-z]+|.", re.DOTALL)
_OPENING = frozenset(["(", "[", "{", r"\{", r"\begin"])
_CLOSING = frozenset([")", "]", "}", r"\}", r"\end"])


def split_top(text: str, separators: Callable[[str], bool]) -> list[str]:
    """The parts between separators that stand outside all brackets and braces."""
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word in _OPENING:
            depth += 1
        elif word in _CLOSING:
            depth = max(0, depth - 1)
        elif depth == 0 and separators(word):
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


def is_enclosed(text: str, opening: int, closing: int) -> bool:
    """Whether the first bracket (of `opening` characters) closes with the last one."""
    depth = 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        depth += (word in _OPENING) - (word in _CLOSING)
        if depth == 0:
            return token.end() == len(text) and token.end() - token.start() == closing
    return False


def is_balanced(text: str) -> bool:
    """Whether every bracket closes, and none before it was opened."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token.group() in _OPENING) - (token.group() in _CLOSING)
        if depth < 0:
            return False
    return depth == 0
