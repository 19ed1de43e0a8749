"""What a worker process does: one comparison at a time, with limits the kernel enforces."""

import os
import re
import resource
import signal

from spot_core.checker.rules import SlowCase
from spot_core.checker.scorers import load_scorer, score_by_plugin, score_by_reasoning_gym
from spot_core.checker.verdict import Decision

DEFAULT_MEMORY_BYTES = 2 * 1024**3
ORPHAN_GRACE_SECONDS = 3.0
"""How long after the time limit a worker ends by itself, should the parent be gone and nobody stop it."""
_LOAD_SECONDS = 60.0

_FIRST_COMPARISONS = (("x+x", "2x"), (r"\sin^2 x+\cos^2 x", "1"), ("y-2x=3", "y=2x+3"), ("7 km", "5 m"))
"""SymPy and Pint load much of themselves with the first use of it, which no row's time limit should pay."""


def start_worker(memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
    """Makes the process killable at any moment and loads SymPy before the first time limit runs."""
    # Python-level handlers wait for the interpreter, which a long big-integer power never gives back.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy would reserve address space for every core
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS,
        (memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard), hard),
    )

    from spot_core.checker.engine import compare_with_sympy  # noqa: PLC0415 - the parent must not load SymPy

    for answer, gold in _FIRST_COMPARISONS:
        compare_with_sympy(answer, gold)


def load_seconds(kind: str) -> float:
    """How much longer than its time limit a comparison may take, because the scorer's own packages are loaded first."""
    return 0.0 if kind in ("math", "numeric", "pattern") else _LOAD_SECONDS


def compare(case: SlowCase, timeout_seconds: float) -> Decision:
    """Compares one answer with its gold; at the time limit the caller kills this process, or its own alarm does."""
    try:
        if loading := load_seconds(case.kind):
            load_scorer(case.kind)
        signal.setitimer(signal.ITIMER_REAL, timeout_seconds + (0 if loading else ORPHAN_GRACE_SECONDS))
        return _compared(case)
    except MemoryError:
        return "timeout", "memory_limit"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - parsers and SymPy raise what they like; one row must not end a batch
        return "ambiguous", f"engine_error:{type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _compared(case: SlowCase) -> Decision:
    from spot_core.checker import engine  # noqa: PLC0415 - see start_worker

    match case.kind:
        case "math":
            return engine.compare_with_sympy(case.answer, case.gold)
        case "numeric":
            return engine.compare_values(case.answer, case.gold, case.tolerance)
        case "pattern":
            matches = re.fullmatch(case.gold, case.answer, re.DOTALL)
            return ("correct" if matches else "incorrect"), "pattern"
        case "reasoning_gym":
            return score_by_reasoning_gym(case.answer, case.gold, case.metadata)
        case _:
            return score_by_plugin(case.kind, case.answer, case.gold, case.metadata)
