"""The filter stage's page: verdicts, pass rates, rows whose checks took long, and rows to check by eye."""

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, islice, zip_longest
from typing import Any

from spot_core.markdown import details, percent, table
from spot_core.pipeline.evaluate import Z_95
from spot_core.report import plots
from spot_core.report.stage_pages import render_footer
from spot_core.store import Artifact

_AUDITED = 20
_METHODS = 20
_ANSWER_CHARACTERS, _END_CHARACTERS = 100, 200
_COLUMNS = [
    "question_id",
    "sample",
    "question",
    "answer",
    "response",
    "extracted_answer",
    "method",
    "verdict",
]


def render_filter_page(artifact: Artifact, *, take: tuple[str, ...]) -> str:
    """Returns the filter's page: counts by verdict and rule, accuracy, examples, the slowest rows, and rows to audit.

    Args:
        artifact: of the filter stage; only the few rows that are shown become Python objects.
        take: verdicts that go to the Oracle.
    """
    figures = artifact.statistics
    slowest = {entry["row"]: entry["seconds"] for entry in figures.get("slowest", ())}
    audited = choose_audit_rows(artifact, _AUDITED)
    rows = artifact.rows_at([*slowest, *audited], columns=_COLUMNS)
    parts = ["# Answers checked", _accuracy(figures["verdicts"].get("correct", 0), artifact.rows)]
    if artifact.rows:
        parts += [plots.draw_verdict_counts(figures["verdicts"]), _counts(figures, artifact.rows, take)]
        if solved := _pass_rates(figures):
            parts.append(solved)
        parts += ["## One example each", *_examples(rows[number] for number in audited)]
    if slowest:
        whole = f"All checks together took {figures['check_seconds']:,.1f} s of work."
        parts += ["## Slowest checks", whole, _slowest(slowest, rows)]
    if audited:
        how = (
            "To check by eye: each verdict in turn, the rows of lowest hash, so the same ones however often this page "
            "is made. The response shows its end."
        )
        parts += [f"## {len(audited)} rows to audit", how, _audit(rows[number] for number in audited)]
    return "\n\n".join(parts) + render_footer(artifact)


def compute_wilson_interval(hits: int, of: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of independent trials (Wilson 1927, J. Am. Stat. Assoc. 22, 209–212)."""
    share, z2 = hits / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def choose_audit_rows(artifact: Artifact, count: int) -> list[int]:
    """Returns the numbers of the rows to audit: of every verdict in turn the row whose key has the next lowest hash.

    So rare verdicts, where errors of the checker go unnoticed, are shown as often as common ones.
    """
    lowest: dict[str, list[tuple[int, int]]] = defaultdict(list)  # by verdict a heap of (-hash, -number)
    number = 0
    for batch in artifact.batches(columns=["question_id", "sample", "verdict"], rows=50_000):
        for question_id, sample, verdict in zip(*batch.to_pydict().values(), strict=True):
            heap = lowest[verdict]
            entry = (-_hash(question_id, sample), -number)
            if len(heap) < count:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
            number += 1
    by_verdict = [[-n for _, n in sorted(lowest[verdict], reverse=True)] for verdict in sorted(lowest)]
    in_turn = chain.from_iterable(zip_longest(*by_verdict))
    return list(islice((number for number in in_turn if number is not None), count))


def _hash(question_id: str, sample: int) -> int:
    key = f"{question_id}/{sample}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def _accuracy(correct: int, rows: int) -> str:
    if not rows:
        return "The rollout has no rows."
    low, high = compute_wilson_interval(correct, rows)
    interval = f"95 % interval {percent(low)} to {percent(high)}, responses taken as independent"
    return f"Accuracy of the rollout: **{percent(correct / rows)}** ({correct:,} of {rows:,}; {interval})"


def _counts(figures: dict[str, Any], rows: int, take: tuple[str, ...]) -> str:
    by_verdict = table(
        ["verdict", "rows", "share", "goes to the Oracle"],
        [
            (v, f"{n:,}", percent(n / rows), "yes" if v in take else "")
            for v, n in figures["verdicts"].items()
        ],
    )
    methods = list(figures["methods"].items())
    shown = [(method, f"{n:,}") for method, n in methods[:_METHODS]]
    if rest := methods[_METHODS:]:
        shown.append((f"{len(rest)} others", f"{sum(n for _, n in rest):,}"))
    return f"{by_verdict}\n\n{table(['decided by', 'rows'], shown)}"


def _pass_rates(statistics: dict[str, Any]) -> str:
    """Returns tables of pass@k and of the questions by their number of right samples; empty for one sample a question."""
    if "pass_at" not in statistics:
        return ""
    chances = [(f"pass@{k}", percent(chance)) for k, chance in statistics["pass_at"].items()]
    shares = [
        (f"{right} of {statistics['samples']}", percent(share))
        for right, share in statistics["right_samples"].items()
    ]
    return (
        f"## {statistics['samples']} samples a question\n\n"
        f"{table(['figure', 'value'], [('mean pass rate', percent(statistics['average_pass_rate'])), *chances])}\n\n"
        f"{table(['right samples', 'questions'], shares)}"
    )


def _examples(rows: Iterable[dict[str, Any]]) -> list[str]:
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["verdict"], row)
    return [
        details(
            f"{verdict}: read {_short(row['extracted_answer'])}, gold {_short(row['answer'])} ({row['method']})",
            Question=row["question"],
            Response=row["response"],
        )
        for verdict, row in first.items()
    ]


def _slowest(seconds: dict[int, float], rows: dict[int, dict[str, Any]]) -> str:
    return table(
        ["seconds", "verdict", "decided by", "read", "gold", "question", "sample"],
        [
            (
                f"{taken:.4f}",
                row["verdict"],
                row["method"],
                _short(row["extracted_answer"]),
                _short(row["answer"]),
                row["question_id"],
                row["sample"],
            )
            for taken, row in ((taken, rows[number]) for number, taken in seconds.items())
        ],
    )


def _audit(rows: Iterable[dict[str, Any]]) -> str:
    return table(
        ["verdict", "read", "gold", "decided by", "response", "question", "sample"],
        [
            (
                row["verdict"],
                _short(row["extracted_answer"]),
                _short(row["answer"]),
                row["method"],
                _end(row["response"]),
                row["question_id"],
                row["sample"],
            )
            for row in sorted(rows, key=lambda row: row["verdict"])
        ],
    )


def _short(answer: str | None) -> str:
    if answer is None:
        return "–"
    if len(answer) <= _ANSWER_CHARACTERS:
        return answer
    return f"{answer[:_ANSWER_CHARACTERS]} … ({len(answer) - _ANSWER_CHARACTERS:,} more characters)"


def _end(response: str) -> str:
    return response if len(response) <= _END_CHARACTERS else f"… {response[-_END_CHARACTERS:]}"
