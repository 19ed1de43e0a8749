"""Corrections that exist already as an Oracle: looked up by question and response, and judged like any other edit."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from spot_core.config.imported import CorrectionColumns, ImportedOracleConfig
from spot_core.config.questions import FileQuestions
from spot_core.datasets import content_digest
from spot_core.datasets.census import Census
from spot_core.datasets.readers import Record, open_file
from spot_core.datasets.rows import RowProblem, question_text, text_of
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.markers import bare_correction
from spot_core.oracles.prompting import UnparseableReplyError

log = logging.getLogger(__name__)


def corrections_digest(config: ImportedOracleConfig) -> str:
    """SHA-256 (hex) of the file's bytes: what of it enters the key of an artifact, wherever it lies.

    Raises:
        InputError: there is no such file.
    """
    return content_digest(FileQuestions(path=config.path))


class ImportedOracle:
    """Proposes what a file says about a response: each of its corrections, in the order of the file.

    Raises:
        InputError: the file is missing or broken, lacks a column, or holds no usable correction.
    """

    name = "imported"
    attempts = 1

    def __init__(self, config: ImportedOracleConfig) -> None:
        # Texts that were corrected are kept as hashes: they are most of the file, and the policy's own.
        self._corrections: dict[bytes, dict[str, None]] = defaultdict(dict)
        self._responses: set[bytes] = set()
        for question, response, correction in _read(config):
            self._corrections[_hash(question, response)][correction] = None
            self._responses.add(_hash(response))

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """The corrections of this response; `refused` if there is none, `unparseable` if one cannot be told from
        what was said around it."""
        found = self._corrections.get(_hash(failure.question, failure.response))
        if found is None:
            return [Proposal(text=None, status="refused", reason=self._why_none(failure))]
        return [_proposal(correction, failure.response) for correction in found]

    def _why_none(self, failure: Failure) -> str:
        if _hash(failure.response) in self._responses:
            return (
                "the file corrects this response, but under a question with another wording: question, strip_prefix and "
                "strip_suffix of rectify.oracle.columns have to be those of questions.columns"
            )
        return "the file holds no correction of this response"


def _proposal(correction: str, response: str) -> Proposal:
    try:
        return Proposal(text=bare_correction(correction, response))
    except UnparseableReplyError as error:
        return Proposal(text=None, status="unparseable", reason=str(error))


def _hash(*texts: str) -> bytes:
    digest = blake2b(digest_size=16)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def _read(config: ImportedOracleConfig) -> Iterator[tuple[str, str, str]]:
    """Question, response and correction of each usable row; says how many could not be used, and why the first."""
    columns = config.columns
    paths = [columns.question, columns.response, columns.rectified]
    opened = open_file(config.path, paths)
    census = Census(opened.title, paths)
    reasons = Counter[str]()
    first: tuple[int, str] | None = None
    usable = 0
    for record in opened.records:
        census.add(record)
        try:
            row = _texts(record, columns)
        except RowProblem as problem:
            reasons[str(problem).partition(":")[0]] += 1
            first = first or (record.line, str(problem))
            continue
        usable += 1
        yield row
    if not usable:
        needs = "one response with its correction"
        raise census.nothing_usable(reasons, first, needs=needs, setting="rectify.oracle.columns")
    if first is not None:
        counted = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        log.warning(
            "%s: %d rows hold no correction that can be used: %s. The first, line %d: %s",
            opened.title,
            reasons.total(),
            counted,
            *first,
        )


def _texts(record: Record, columns: CorrectionColumns) -> tuple[str, str, str]:
    if record.content is None:
        raise RowProblem(record.problem)
    question = question_text(record, columns)
    response = text_of(record, "response", columns.response)
    if not response:
        raise RowProblem("empty response: there is nothing that was corrected")
    return question, response, text_of(record, "correction", columns.rectified)
