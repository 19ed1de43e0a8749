"""Checkers that need a killable process beside the mathematical one: tolerance, reasoning_gym, plug-ins.

A plug-in is an entry point of the group `spot.checkers`: a function of the visible response, the gold answer and the row's
metadata that returns True (correct), False (incorrect) or None (ambiguous).
"""

import functools
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib.metadata import entry_points
from typing import Any

from spot_core.checker.sandbox import ForbiddenEffect, looks_unsafe, no_effects
from spot_core.checker.verdict import Decision
from spot_core.errors import ConfigError

GROUP = "spot.checkers"
Plugin = Callable[[str, str, Mapping[str, Any]], bool | None]


@functools.cache
def plugin_names() -> frozenset[str]:
    """The kinds that installed packages add."""
    return frozenset(entry_points(group=GROUP).names)


@functools.cache
def load_plugin(kind: str) -> Plugin:
    """The function behind an entry point.

    Raises:
        ConfigError: no installed package has one of this name, or it cannot be loaded.
    """
    found = list(entry_points(group=GROUP, name=kind))
    if not found:
        raise ConfigError(f"no installed package has an entry point {kind!r} in the group {GROUP!r}")
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
