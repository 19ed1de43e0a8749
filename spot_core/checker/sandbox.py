"""Keeps third-party scorers that call `eval` or SymPy's `parse_expr` on model text from having effects.

Two fences: text that could call anything is not shown to them (`looks_unsafe`), and while they run, what Python announces as an
effect is refused (`no_effects`). The second alone would not hold against code written to get around it.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_FORBIDDEN = (
    "subprocess.",
    "os.",
    "shutil.",
    "socket.",
    "ctypes.",
    "pty.",
    "ftplib.",
    "urllib.",
    "http.",
    "webbrowser.",
    "sqlite3.",
    "signal.",
    "mmap.",
    "code.",
    "marshal.",
    "pickle.",
)
_HARMLESS = frozenset(["os.listdir", "os.scandir", "os.walk"])  # what an import of a package does
_WRITES = re.compile("[wax+]")
_IDENTIFIER = re.compile(r"[^\W\d]\w+")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan arcsin arccos arctan sinh cosh tanh sqrt exp log ln abs pi and or not".split()
)

_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_active = False
_installed = False


class ForbiddenEffect(Exception):  # noqa: N818 - says what was tried
    """What a scorer tried to do."""


def looks_unsafe(text: str) -> bool:
    """Whether an evaluator could call something with the text: parentheses beside any word that is no function of mathematics.

    Python reads fullwidth letters as plain ones, so they are made plain first.
    """
    text = unicodedata.normalize("NFKC", text)
    if "__" in text or "lambda" in text:
        return True
    return "(" in text and not _FUNCTIONS.issuperset(_IDENTIFIER.findall(text))


@contextmanager
def no_effects() -> Iterator[None]:
    """Raises `ForbiddenEffect` in whatever opens a file for writing, starts a process or talks to the network.

    Works on the whole process through Python's audit events: for worker processes that do one thing at a time.
    """
    global _active, _installed  # noqa: PLW0603 - an audit hook cannot be removed, only switched
    if not _installed:
        sys.addaudithook(_refuse)
        _installed = True
    _active = True
    try:
        yield
    finally:
        _active = False


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if not _active or event in _HARMLESS:
        return
    if event == "open":
        _, mode, flags = args
        # Flags of os.open: anything but reading alone.
        if (isinstance(mode, str) and _WRITES.search(mode)) or (
            mode is None and isinstance(flags, int) and flags & _WRITING_FLAGS
        ):
            raise ForbiddenEffect("opening a file for writing")
    elif event.startswith(_FORBIDDEN):
        raise ForbiddenEffect(event)
