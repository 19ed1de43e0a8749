"""Checks the final answer of a response against the gold answer.

`rules` decides a row: `extraction` finds the answer, `comparison` (on `notation` and `quantity`) settles the easy
majority exactly, and `engine` (math-verify on SymPy) settles the rest in the killable workers of `pool`.
"""

from spot_core.checker.pool import CheckerPool, check, check_many
from spot_core.checker.scorers import plugin_names
from spot_core.checker.verdict import CHECKER_VERSION, KINDS, VERDICTS, CheckItem, Verdict, VerdictName

__all__ = [
    "CHECKER_VERSION",
    "KINDS",
    "VERDICTS",
    "CheckItem",
    "CheckerPool",
    "Verdict",
    "VerdictName",
    "check",
    "check_many",
    "plugin_names",
]
