"""Checks the final answer of a response against the gold answer.

How to read it: `rules` decides a row. `extraction` finds the answer, `notation` brings it into one spelling, `structure` reads
which mathematical object it is (`nodes`), and `comparison` compares it with the gold answer part by part. Single parts are compared
by `leaves` exactly (numbers and units by `quantity` and `units`) or, where these cannot tell, by `engine` (math-verify on SymPy) in
the killable workers of `pool`. `scorers` are the checkers of other packages.
"""

from spot_core.checker.pool import CheckerPool, check, check_many
from spot_core.checker.verdict import CHECKER_VERSION, CheckItem, Verdict
from spot_core.config.checker import VERDICTS, VerdictName

__all__ = [
    "CHECKER_VERSION",
    "VERDICTS",
    "CheckItem",
    "CheckerPool",
    "Verdict",
    "VerdictName",
    "check",
    "check_many",
]
