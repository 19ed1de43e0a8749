"""Turns records into rows of the `questions` schema, or says why one cannot be used."""

import hashlib
import json
import math
from typing import Any, Protocol

from spot_core.config.checker import require_kind
from spot_core.config.questions import ColumnMapping
from spot_core.datasets.readers import Record, is_missing, value_at

UNKNOWN_FINISH_REASON = "unknown"
"""What imported responses get whose source does not say how they ended."""
STOPPED = "stop"
"""How a response ended that ended by itself: one that is empty consists of the end of turn alone."""

_BLANK = ("",)
"""What CSV has for no value."""


class QuestionColumns(Protocol):
    """Where a source has its question, and what stands around it."""

    @property
    def question(self) -> str: ...
    @property
    def strip_prefix(self) -> str: ...
    @property
    def strip_suffix(self) -> str: ...


class RowProblem(Exception):  # noqa: N818 - a row's fault, not the program's
    """Why a record cannot be used; becomes the reason in the list of rejected rows."""


def question_id(question: str, answer: str) -> str:
    """16 hex digits of SHA-256 over question and answer, each preceded by its length in bytes."""
    digest = hashlib.sha256()
    for text in (question, answer):
        data = text.encode("utf-8")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def row_of(record: Record, columns: ColumnMapping, source: str) -> dict[str, Any]:
    """The row: question_id, question, answer, source, source_id, checker, metadata, and response and finish_reason
    where mapped.

    Raises:
        RowProblem: a value is missing, empty, of the wrong type or not valid text.
    """
    if record.content is None:
        raise RowProblem(record.problem)
    question = question_text(record, columns)
    answer = _text_or_number(record, "answer", columns.answer)
    if not answer:
        raise RowProblem("empty answer")
    row: dict[str, Any] = {
        "question_id": question_id(question, answer),
        "question": question,
        "answer": answer,
        "source": source,
        "source_id": None
        if columns.source_id is None
        else _text_or_number(record, "source_id", columns.source_id),
        "checker": _checker(record, columns.checker),
        "metadata": _metadata(record, columns.metadata),
    }
    if columns.response is not None:
        row["response"] = text_of(record, "response", columns.response)
        reason = columns.finish_reason and text_of(record, "finish_reason", columns.finish_reason)
        row["finish_reason"] = reason or UNKNOWN_FINISH_REASON
        if not row["response"] and reason != STOPPED:
            raise RowProblem("empty response: there is nothing to learn from")
    return row


def _checker(record: Record, path: str | None) -> str | None:
    if path is None or value_at(record.content, path) in _BLANK or is_missing(value_at(record.content, path)):
        return None
    name = text_of(record, "checker", path)
    try:
        require_kind(name)
    except ValueError as error:
        raise RowProblem(f"unknown checker: {str(error)[:200]}") from None
    return name


def _metadata(record: Record, path: str | None) -> str | None:
    """A JSON object as text, whether the source holds it as an object or as JSON."""
    value = None if path is None else value_at(record.content, path)
    if path is None or is_missing(value) or value in _BLANK:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowProblem(f"metadata is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise RowProblem(f"metadata is no JSON object: {type(value).__name__}")
    try:
        return _valid(json.dumps(value, sort_keys=True, ensure_ascii=False), "metadata")
    except TypeError as error:
        raise RowProblem(f"metadata cannot be written as JSON: {error}") from None


def _value(record: Record, field: str, path: str) -> Any:
    value = value_at(record.content, path)
    if is_missing(value):
        raise RowProblem(f"missing {field}: no value in column {path!r}")
    return value


def question_text(record: Record, columns: QuestionColumns) -> str:
    """The question as text, without the instructions that the source wraps around it.

    Raises:
        RowProblem: it is missing, empty or worded otherwise, no text or conversation of one message, or not valid.
    """
    value = _value(record, "question", columns.question)
    if isinstance(value, list):
        value = _only_message(value, columns.question)
    if not isinstance(value, str):
        raise RowProblem(f"question is not text: {type(value).__name__}")
    if question := _stripped(_valid(value, "question"), columns):
        return question
    raise RowProblem("empty question")


def text_of(record: Record, field: str, path: str) -> str:
    """The text under a path.

    Raises:
        RowProblem: it is missing, no text, or not valid.
    """
    value = _value(record, field, path)
    if not isinstance(value, str):
        raise RowProblem(f"{field} is not text: {type(value).__name__}")
    return _valid(value, field)


def _only_message(value: list[Any], path: str) -> Any:
    """What the user says in a conversation that holds nothing else."""
    match value:
        case [{"role": "user", "content": content}]:
            return content
        case [{"role": _, "content": _}, *_]:
            last = f"{path}.{len(value) - 1}.content"
            raise RowProblem(
                f"question is a conversation of {len(value)} messages: name the one to ask as the column, such as "
                f"{last!r}; what stands before it belongs into the settings of `prompt`"
            )
        case _:
            raise RowProblem("question is not text: list")


def _text_or_number(record: Record, field: str, path: str) -> str:
    """Text as it is; integers and finite floats in Python's notation, which is exact for both.

    A list or an object that holds one value stands for it.
    """
    value = _value(record, field, path)
    while isinstance(value, list | dict) and len(value) == 1:
        ((key, value),) = value.items() if isinstance(value, dict) else enumerate(value)
        path = f"{path}.{key}"
    if isinstance(value, str):
        return _valid(value, field).strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    hint = ""
    if isinstance(value, list | dict) and value:
        inner = next(iter(value)) if isinstance(value, dict) else 0
        hint = f"; name the one that counts as the column, such as '{path}.{inner}'"
    raise RowProblem(f"{field} is neither text nor a number: {type(value).__name__} {value!r:.40}{hint}")


def _valid(text: str, field: str) -> str:
    if "\0" in text:
        raise RowProblem(f"NUL byte: in {field}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowProblem(f"not UTF-8: {field} has the invalid code {text[error.start]!a}") from None
    return text


def _stripped(question: str, columns: QuestionColumns) -> str:
    if not question.startswith(columns.strip_prefix):
        raise RowProblem("other wording: the question does not begin with columns.strip_prefix")
    question = question.removeprefix(columns.strip_prefix)
    if not question.endswith(columns.strip_suffix):
        raise RowProblem("other wording: the question does not end with columns.strip_suffix")
    return question.removesuffix(columns.strip_suffix).strip()
