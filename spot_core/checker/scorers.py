"""Checkers that need a killable process beside the mathematical one: tolerance, reasoning_gym, plug-ins.

A plug-in is an entry point of the group `spot.checkers`: a function of the visible response, the gold answer and the row's
metadata that returns True (correct), False (incorrect) or None (ambiguous).

Third-party scorers may call `eval` or SymPy's `parse_expr` on model text. Two fences keep them from having effects: text that
could call anything is not shown to them (`looks_unsafe`), and while they run, what Python announces as an effect is refused
(`no_effects`). The second alone would not hold against code written to get around it."""

import functools
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from importlib.metadata import entry_points
from typing import Any

from spot_core.checker.verdict import Decision
from spot_core.config.checker import PLUGIN_GROUP
from spot_core.errors import ConfigError

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


Plugin = Callable[[str, str, Mapping[str, Any]], bool | None]


@functools.cache
def load_plugin(kind: str) -> Plugin:
    """The function behind an entry point.

    Raises:
        ConfigError: no installed package has one of this name, or it cannot be loaded.
    """
    found = list(entry_points(group=PLUGIN_GROUP, name=kind))
    if not found:
        raise ConfigError(f"no installed package has an entry point {kind!r} in the group {PLUGIN_GROUP!r}")
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the checker {kind!r} ({found[0].value}) cannot be loaded: {error}") from error


def load_scorer(kind: str) -> None:
    """Loads the packages that a kind of its own needs, which may take longer than a row's time limit."""
    if kind == "reasoning_gym":
        import reasoning_gym  # noqa: F401, PLC0415 - optional, and only workers need it
    else:
        load_plugin(kind)


def score_by_plugin(kind: str, response: str, gold: str, metadata: str | None) -> Decision:
    """The plug-in's opinion; what it raises makes the row ambiguous."""
    plugin = load_plugin(kind)
    try:
        right = plugin(response, gold, json.loads(metadata or "{}"))
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code on a model's text
        return "ambiguous", f"plugin_error:{type(error).__name__}"
    return {True: "correct", False: "incorrect"}.get(right, "ambiguous"), kind


def score_by_reasoning_gym(answer: str, gold: str, metadata: str | None) -> Decision:
    """The verdict of the data set's own scorer; some of these evaluate the text, so it runs without effects.

    `metadata`: JSON of the entry, or of its `metadata`, which names the `source_dataset`.
    """
    if answer.strip() == gold.strip():
        return "correct", "exact"
    if looks_unsafe(answer):
        return "ambiguous", "unsafe_text"
    from reasoning_gym import get_score_answer_fn  # noqa: PLC0415 - optional, and only workers need it

    entry = json.loads(metadata or "{}")
    entry = entry if "metadata" in entry else {"metadata": entry}
    entry |= {"answer": gold}
    dataset = entry["metadata"].get("source_dataset")
    if not dataset:
        return "ambiguous", "no_source_dataset"
    try:
        score = get_score_answer_fn(dataset)
        with no_effects():
            value = score(answer=answer, entry=entry)
    except ForbiddenEffect:
        return "ambiguous", "unsafe_text"
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the scorers raise what they like on odd answers
        return "ambiguous", f"scorer_error:{type(error).__name__}"
    # Scorers give a little for the right form; only the full score is a right answer.
    return ("correct" if value >= 1 else "incorrect"), dataset


def within(value: Fraction, gold: Fraction, tolerance: float) -> bool:
    """Whether a value is within the relative tolerance of the gold value."""
    return abs(value - gold) <= Fraction(tolerance) * abs(gold)
