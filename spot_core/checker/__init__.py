"""Checks the final answer of a response against the gold answer.

How to read it: `rules` decides a row. `extraction` finds the answer, `notation` (with `symbols`) brings it into one spelling,
`structure` (with `nodes`, `sets`, `spans`, `matrices`, `brackets`) reads how it is built, and `comparison` compares it with the gold
part by part. Single parts are compared by `leaves` exactly (`quantities`, `clock`, `choices`, `texts`) or, where these cannot tell, by
`engine` (math-verify on SymPy, with `latex` and `values`) in the killable workers of `pool`. `scorers` are the checkers of others.
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
