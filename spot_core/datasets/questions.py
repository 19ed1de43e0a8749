"""Reads a question source: usable rows on one side, rejected rows with file, line and reason on the other."""

import hashlib
import logging
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from spot_core.config.questions import ColumnMapping, FileQuestions, GeneratorQuestions, HubQuestions
from spot_core.datasets.census import Census
from spot_core.datasets.readers import (
    SHOWN_CHARS,
    Record,
    RowSource,
    all_paths,
    existing_file,
    hub_fingerprint,
    mapped_paths,
    open_file,
    open_hub,
)
from spot_core.datasets.repeats import Asked, Repeats, find_repeats
from spot_core.datasets.rows import RowProblem, row_of

log = logging.getLogger(__name__)

LISTED_DUPLICATES = 10_000
"""Duplicates listed one by one; the rest is counted (DAPO-Math-17k holds every question a hundred times)."""

Source = FileQuestions | HubQuestions | GeneratorQuestions


@dataclass(frozen=True)
class Questions:
    """What a source holds.

    `rows` have question_id, question, answer, source and source_id; where responses are mapped also sample (0, 1, …
    over the responses to one question), response and finish_reason. `rejected` have file, line (from 1), reason and
    content; `set_aside` counts them by the first word of the reason, with those that are not listed one by one.
    `near_conflicts` counts questions kept although another one says nearly the same and has another answer.
    """

    rows: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    set_aside: Counter[str]
    near_conflicts: int = 0


def read_questions(source: Source, *, whole: bool = False) -> Questions:
    """The usable and the rejected rows of a source.

    Args:
        source: where the questions come from.
        whole: keep questions that only resemble an earlier one, as an evaluation set has to.

    Raises:
        InputError: the source cannot be read at all, or holds no usable row; the message counts the reasons.
    """
    if isinstance(source, GeneratorQuestions):
        return _generated(source)
    if isinstance(source, FileQuestions):
        opened = open_file(source.path, all_paths(source.columns))
    else:
        opened = open_hub(source)
    reader = _Reader(opened, source.columns)
    for record in opened.records:
        reader.add(record)
    questions = reader.finished(near_duplicates=0 if whole else source.near_duplicates)
    rows = questions.rows
    if source.shuffle_seed is not None:
        random.Random(source.shuffle_seed).shuffle(rows)
    return replace(questions, rows=rows[: source.limit])


def content_digest(source: Source) -> str:
    """SHA-256 (hex) of what the source holds: the file's bytes, the data set's fingerprint, the generator's settings.

    Raises:
        InputError: the source does not exist or cannot be reached.
    """
    if isinstance(source, FileQuestions):
        with existing_file(source.path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    identity = source.model_dump_json() if isinstance(source, GeneratorQuestions) else hub_fingerprint(source)
    return hashlib.sha256(identity.encode()).hexdigest()


def _generated(source: GeneratorQuestions) -> Questions:
    from spot_core.demo import generate  # noqa: PLC0415 - needed by this kind of source only

    made = generate(source.name, count=source.count, seed=source.seed, split=source.split)
    opened = RowSource(f"generator {source.name}", f"generator:{source.name}", iter(()))
    reader = _Reader(opened, ColumnMapping(source_id="source_id"))
    for number, content in enumerate(made, start=1):
        reader.add(Record(number, content))
    return reader.finished(near_duplicates=0)  # a generator never repeats itself


def reasons_of(rejected: list[dict[str, Any]]) -> Counter[str]:
    """How many rows were set aside, by the first word of the reason."""
    return Counter(row["reason"].partition(":")[0] for row in rejected)


class _Reader:
    """Collects rows, sets doubled and contradictory ones aside."""

    def __init__(self, opened: RowSource, columns: ColumnMapping) -> None:
        self._opened = opened
        self._columns = columns
        self._rows: list[tuple[int, dict[str, Any]]] = []  # (line, row)
        self._rejected: list[dict[str, Any]] = []
        self._first_lines: dict[tuple[str, str | None], int] = {}  # (question_id, response) → line
        self._asked: dict[str, Asked] = {}  # by question_id
        self._duplicates = 0
        self._census = Census(opened.title, mapped_paths(columns))

    def add(self, record: Record) -> None:
        self._census.add(record)
        try:
            row = row_of(record, self._columns, self._opened.name)
        except RowProblem as problem:
            self._reject(record.line, str(problem), record.shown())
            return
        identity = (row["question_id"], row.get("response"))
        if (first_line := self._first_lines.setdefault(identity, record.line)) != record.line:
            self._duplicates += 1
            if self._duplicates <= LISTED_DUPLICATES:
                self._reject(record.line, f"duplicate: the same as line {first_line}", record.shown())
            return
        asked = Asked(record.line, row["question_id"], row["question"], row["answer"])
        self._asked.setdefault(asked.question_id, asked)
        self._rows.append((record.line, row))

    def finished(self, *, near_duplicates: float) -> Questions:
        repeats = find_repeats(list(self._asked.values()), threshold=near_duplicates)
        rows, samples = [], Counter[str]()
        for line, row in self._rows:
            if reason := repeats.reasons.get(row["question_id"]):
                self._reject(line, reason, row["question"][:SHOWN_CHARS])
                continue
            if "response" in row:
                row["sample"] = samples[row["question_id"]]
                samples[row["question_id"]] += 1
            rows.append(row)
        set_aside = reasons_of(self._rejected)
        if (more := self._duplicates - LISTED_DUPLICATES) > 0:
            set_aside["duplicate"] += more
            self._reject(0, f"duplicate: {more} further duplicates that are not listed", "")
        if not rows:
            first = (self._rejected[0]["line"], self._rejected[0]["reason"]) if self._rejected else None
            needs = "one question with its answer"
            raise self._census.nothing_usable(set_aside, first, needs=needs, setting="questions.columns")
        self._warn_of(repeats)
        rejected = sorted(self._rejected, key=lambda rejected: rejected["line"])
        return Questions(rows, rejected, set_aside, len(repeats.near_conflicts))

    def _warn_of(self, repeats: Repeats) -> None:
        if conflicts := repeats.near_conflicts:
            log.warning(
                "%s: %d questions say nearly the same as another one but have another answer; all are kept, since one "
                "word can make the difference. Have a look, e.g. at lines %d and %d",
                self._opened.title,
                len(conflicts),
                *conflicts[0],
            )
        if repeats.not_compared:
            log.warning(
                "%s: %d questions were not compared for near-duplicates: they come from one template, and each "
                "resembles hundreds of others",
                self._opened.title,
                repeats.not_compared,
            )

    def _reject(self, line: int, reason: str, content: str) -> None:
        self._rejected.append(
            {"file": self._opened.title, "line": line, "reason": reason, "content": content}
        )
