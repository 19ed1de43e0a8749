"""One row of a source before anything is known about its columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spot_core.config.questions import ColumnMapping
from spot_core.errors import InputError

SHOWN_CHARS = 500
"""How much of a row's content a rejection keeps."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row as the source holds it: its content, or the reason why it could not be read."""

    line: int
    """Line of the file where the row begins, or number of the row where there are no lines; counted from 1."""
    content: dict[str, Any] | None
    problem: str = ""
    raw: str = ""
    """What stood there, for rows that could not be read."""

    def shown(self) -> str:
        """The content for a human reader, encodable whatever it holds."""
        text = self.raw if self.content is None else repr(self.content)
        return text[:SHOWN_CHARS].encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class RowSource:
    """A readable source: the name for messages, the short name for the `source` column, its rows."""

    title: str
    name: str
    records: Iterator[Record]


_MISSING = object()


def value_at(content: Any, path: str) -> Any:
    """The value under a dotted path (`prompt.0.content`), or `MISSING`; a key that contains dots wins as it is."""
    if isinstance(content, dict) and path in content:
        return content[path]
    head, dot, rest = path.partition(".")
    if not dot:
        return _item(content, head)
    return value_at(_item(content, head), rest)


def is_missing(value: Any) -> bool:
    """Whether `value_at` found nothing, or the source has an empty cell there."""
    return value is _MISSING or value is None


def _item(content: Any, key: str) -> Any:
    if isinstance(content, dict):
        return content.get(key, _MISSING)
    if isinstance(content, list) and key.isdecimal() and int(key) < len(content):
        return content[int(key)]
    return _MISSING


def mapped_paths(columns: ColumnMapping) -> list[str]:
    """The paths that every row has to have."""
    paths = (columns.question, columns.answer, columns.source_id, columns.response, columns.finish_reason)
    return [path for path in paths if path is not None]


def optional_paths(columns: ColumnMapping) -> list[str]:
    """The paths that a row may lack."""
    return [path for path in (columns.checker, columns.metadata) if path is not None]


def all_paths(columns: ColumnMapping) -> list[str]:
    """Every path that is looked up in a row."""
    return [*mapped_paths(columns), *optional_paths(columns)]


def top_level(path: str, names: list[str]) -> str:
    """The column of a table that a path starts in."""
    return path if path in names else path.partition(".")[0]


def needed_columns(paths: Iterable[str], names: list[str]) -> list[str]:
    """The table's columns that hold the paths; all of them where one is missing, so that the error can list them."""
    needed = list(dict.fromkeys(top_level(path, names) for path in paths))
    return needed if set(needed) <= set(names) else names


def not_readable(title: str, why: object, remedy: str) -> InputError:
    return InputError(f"{title} cannot be read: {why}. {remedy}")
