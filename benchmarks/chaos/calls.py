"""What the endpoint was asked, from its own log: the same thing twice means paid twice."""

import json
from collections import Counter
from pathlib import Path


def answered_again(log: Path) -> tuple[int, int]:
    """How many calls were answered, and how many of them had been answered before."""
    answers: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        note = json.loads(line)
        answers[note["hash"]] += bool(note["answered"])
    return answers.total(), sum(times - 1 for times in answers.values() if times > 1)
