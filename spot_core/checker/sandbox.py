"""Keeps code that evaluates model text from having effects: third-party scorers that call `eval` or SymPy's `parse_expr`."""

import re
import sys
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
_UNSAFE_TEXT = re.compile(
    r"__|\b(?:import|lambda|exec|eval|open|compile|getattr|setattr|globals|locals|vars|input|breakpoint)\b"
)

_active = False
_installed = False


class ForbiddenEffect(Exception):  # noqa: N818 - says what was tried
    """What a scorer tried to do."""


def looks_unsafe(text: str) -> bool:
    """Whether a text holds what no answer needs and what an evaluator should never see."""
    return _UNSAFE_TEXT.search(text) is not None


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
            mode is None and isinstance(flags, int) and flags & 3
        ):
            raise ForbiddenEffect("opening a file for writing")
    elif event.startswith(_FORBIDDEN):
        raise ForbiddenEffect(event)
