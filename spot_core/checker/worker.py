"""What a worker process does: one comparison at a time, with limits the kernel enforces."""

import re
import resource
import signal

from spot_core.checker.leaves import Decision
from spot_core.checker.verdict import Kind

MEMORY_BYTES = 2 * 1024**3
"""Address space of one worker; SymPy itself needs about 0.4 GB of it."""
ORPHAN_GRACE_SECONDS = 3.0
"""How long after the time limit a worker ends by itself, should the parent be gone and nobody stop it."""

_FIRST_COMPARISONS = (("x+x", "2x"), (r"\sin^2 x+\cos^2 x", "1"), ("y-2x=3", "y=2x+3"), ("7 km", "5 m"))
"""SymPy and Pint load much of themselves with the first use of it, which no row's time limit should pay."""


def start_worker() -> None:
    """Makes the process killable at any moment and loads SymPy before the first time limit runs."""
    # Python-level handlers wait for the interpreter, which a long big-integer power never gives back.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES if hard == resource.RLIM_INFINITY else hard, hard))

    from spot_core.checker.engine import compare_with_sympy  # noqa: PLC0415 - the parent must not load SymPy

    for answer, gold in _FIRST_COMPARISONS:
        compare_with_sympy(answer, gold)


def compare(kind: Kind, answer: str, gold: str, timeout_seconds: float) -> Decision:
    """Compares one answer with its gold; the caller kills this process at the time limit."""
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds + ORPHAN_GRACE_SECONDS)
    try:
        if kind == "pattern":
            return ("correct" if re.fullmatch(gold, answer, re.DOTALL) else "incorrect"), "pattern"
        from spot_core.checker.engine import compare_with_sympy  # noqa: PLC0415 - see start_worker

        return compare_with_sympy(answer, gold)
    except MemoryError:
        return "timeout", "memory_limit"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
