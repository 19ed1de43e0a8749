"""Which failures the Oracle is asked about, where a question has several or there are more than are wanted."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice

import pyarrow.compute as pc

from spot_core.config.spot import FilterConfig
from spot_core.oracles.base import Failure
from spot_core.oracles.human import Key
from spot_core.pipeline.pass_rates import right_by_question
from spot_core.store import Artifact

log = logging.getLogger(__name__)

BOUNDARY = 0.5
"""Pass rate at which a question says most: the policy can solve it and does not do so reliably."""
_FEW_ROWS = 1_000
_COLUMNS = [field.name for field in fields(Failure)]


@dataclass(frozen=True)
class _Response:
    question_id: str
    sample: int
    verdict: str
    tokens: int


def failure_rows(filtered: Artifact, config: FilterConfig) -> dict[int, Key]:
    """The rows of a filter artifact that the Oracle is asked about, in their order, with question_id and sample."""
    responses = _responses(filtered)
    chosen = _chosen(responses, config)
    log.info(
        "%d of %d failures go to the Oracle (filter.keep = %s)",
        len(chosen),
        sum(response.verdict in config.take for response in responses),
        config.keep,
    )
    keys = ((response.question_id, response.sample) for response in responses)
    return {row: key for row, key in enumerate(keys) if key in chosen}


def failures_at(filtered: Artifact, rows: Iterable[int]) -> Iterator[Failure]:
    """The failures in these rows of a filter artifact; few are in memory at a time."""
    numbers = iter(rows)
    while some := list(islice(numbers, _FEW_ROWS)):
        found = filtered.rows_at(some, columns=_COLUMNS)
        for number in some:
            yield Failure(**found.pop(number))


def _responses(filtered: Artifact) -> list[_Response]:
    """Every response without its text, which is most of an artifact's bytes."""
    responses = []
    for batch in filtered.batches(columns=["question_id", "sample", "verdict", "response_token_ids"]):
        lengths = pc.list_value_length(batch.column("response_token_ids"))
        columns = [batch.column(name).to_pylist() for name in ("question_id", "sample", "verdict")]
        responses += [_Response(*values) for values in zip(*columns, lengths.to_pylist(), strict=True)]
    return responses


def _chosen(responses: list[_Response], config: FilterConfig) -> set[Key]:
    """Keys of the failures to take: first within each question, then among questions."""
    by_question: dict[str, list[_Response]] = defaultdict(list)
    for response in responses:
        if response.verdict in config.take:
            by_question[response.question_id].append(response)
    if config.keep == "nearest_boundary":
        counts = right_by_question((r.question_id for r in responses), (r.verdict for r in responses))
        distances = {question: abs(right / n - BOUNDARY) for question, (right, n) in counts.items()}
        questions = sorted(by_question, key=lambda question: (distances[question], question))
    else:
        questions = sorted(by_question)  # ids are hashes: as good as drawn by lot, and always the same
    taken = [
        failure for question in questions for failure in _of_one_question(by_question[question], config.keep)
    ]
    return {(failure.question_id, failure.sample) for failure in taken[: config.max_failures]}


def _of_one_question(failures: list[_Response], keep: str) -> list[_Response]:
    in_order = sorted(failures, key=lambda failure: failure.sample)
    match keep:
        case "all":
            return in_order
        case "first":
            return in_order[:1]
        case _:
            return [min(in_order, key=lambda failure: failure.tokens)]
