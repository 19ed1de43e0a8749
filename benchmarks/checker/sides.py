"""One checker in a process of its own, pinned to one core. Argument: its name.

Reads lines of JSON ``[[response, gold], …]`` and answers each with ``{"verdicts": […], "seconds": s}``: a verdict per
row and the wall time of all of them. Everything runs in the main thread, as math-verify's time limits demand.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable

Rows = list[tuple[str, str]]
Check = Callable[[Rows], list[str]]

_BOX = re.compile(r"\\boxed\{(.*?)\}", re.DOTALL)


def ours() -> Check:
    """Our checker as the filter stage uses it: fast rules here, the rest in one worker, 2 s a row."""
    from spot_core.checker import CheckerPool, CheckItem  # noqa: PLC0415 - one side does not load the other's

    pool = CheckerPool(workers=1)
    return lambda rows: [v.verdict for v in pool.check_many(CheckItem(*row) for row in rows)]


def math_verify() -> Check:
    """math-verify with the defaults of `parse` and `verify`, which stop themselves after 5 s each.

    It reads LaTeX between dollar signs only, and most golds come without: they get them. Of the ways to hand golds
    over that were tried (as they are, dollar signs around those with commands, around all, a box) this errs least.
    """
    from math_verify import parse, verify  # noqa: PLC0415

    logging.disable(logging.CRITICAL)

    def check(rows: Rows) -> list[str]:
        verdicts = []
        for response, gold in rows:
            delimited = gold if "$" in gold else f"${gold}$"
            try:
                right = verify(parse(delimited), parse(response))
            except Exception:  # noqa: BLE001 - whatever it raises, it did not find the answer right
                right = False
            verdicts.append("correct" if right else "incorrect")
        return verdicts

    return check


def official() -> Check:
    """The rule of the paper's code, rebuilt: what stands in the last box up to the first brace, as a string."""

    def check(rows: Rows) -> list[str]:
        boxes = [_BOX.findall(response) for response, _ in rows]
        return [
            "correct" if found and found[-1].strip() == gold.strip() else "incorrect"
            for found, (_, gold) in zip(boxes, rows, strict=True)
        ]

    return check


SIDES: dict[str, Callable[[], Check]] = {"ours": ours, "math_verify": math_verify, "official": official}


def main(name: str) -> None:
    """Answers until its input ends."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    check = SIDES[name]()
    for line in sys.stdin:
        rows = json.loads(line)
        start = time.perf_counter()
        verdicts = check(rows)
        print(json.dumps({"verdicts": verdicts, "seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
