"""How often the policy solves each question: what several samples per question tell beside the accuracy."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from spot_core.store import Artifact


def right_by_question(question_ids: Iterable[str], verdicts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Right and all samples of each question, in the order in which the questions come."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for question_id, verdict in zip(question_ids, verdicts, strict=True):
        counts[question_id][0] += verdict == "correct"
        counts[question_id][1] += 1
    return {question_id: (right, samples) for question_id, (right, samples) in counts.items()}


def pass_rate_statistics(rollout: Artifact, verdicts: Iterable[str]) -> dict[str, Any]:
    """Figures for the manifest; none where every question has one sample, for then they repeat the accuracy.

    ``right_samples`` has the share of questions by their number of right samples, ``pass_at`` the chance that one of k
    samples is right: the mean over questions with at least k samples of 1 − C(n − right, k) / C(n, k), which has no bias.
    """
    ids = rollout.table(columns=["question_id"]).column("question_id").to_pylist()
    counts = list(right_by_question(ids, verdicts).values())
    most = max((samples for _, samples in counts), default=1)
    if most == 1:
        return {}
    by_right = Counter(right for right, _ in counts)
    return {
        "questions": len(counts),
        "samples": most,
        "average_pass_rate": fmean(right / samples for right, samples in counts),
        "right_samples": {str(right): by_right[right] / len(counts) for right in range(most + 1)},
        "pass_at": {
            str(k): fmean(pass_at(k, right, samples) for right, samples in counts if samples >= k)
            for k in _powers_of_two_up_to(most)
        },
    }


def pass_at(k: int, right: int, samples: int) -> float:
    """Chance that at least one of k samples, drawn from these without putting back, is right."""
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def _powers_of_two_up_to(most: int) -> list[int]:
    powers = [2**exponent for exponent in range(most.bit_length())]
    return powers if powers[-1] == most else [*powers, most]
