"""Reads raw rows of files and of data sets on the Hugging Face hub; a row that cannot be read is kept with the reason.

JSON Lines is decoded line by line, so that one bad byte costs one row. CSV goes through the standard reader because
it knows the line of every row, also after quoted newlines; pandas and Arrow do not.
"""

import csv
import difflib
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from spot_core.config.questions import ColumnMapping, HubQuestions
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


CSV_FIELD_CHARS = 16 * 1024**2
"""Longest field of a CSV file; the standard library's default of 128 KiB is shorter than a long response."""
PARQUET_BATCH_ROWS = 4_096
_CONVERT = "Save it as UTF-8 JSON Lines, one object per line."


def open_file(name: str, paths: Sequence[str]) -> RowSource:
    """The rows of the file ``name``; of a table, the columns that hold ``paths`` and no others.

    Raises:
        InputError: the file does not exist, is empty, or is broken as a whole (JSON array, Parquet).
    """
    path = existing_file(name)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: it needs at least one row")
    title, ending = str(path), path.name.lower().removesuffix(".gz")
    if ending.endswith(".parquet"):
        records = _read_parquet(path, paths)
    elif ending.endswith(".csv"):
        records = _read_csv(path)
    elif ending.endswith(".json") and _first_character(path) == b"[":
        records = _read_json_array(path)
    else:
        records = _read_json_lines(path)
    return RowSource(title, path.name, records)


def existing_file(path: str) -> Path:
    """The absolute path.

    Raises:
        InputError: there is no such file; the message names similar ones that exist.
    """
    file = Path(path).expanduser().absolute()
    if file.is_file():
        return file
    if file.is_dir():
        raise InputError(f"{file} is a folder: give one of its files")
    parent = next(folder for folder in file.parents if folder.is_dir())
    names = sorted(entry.name for entry in parent.iterdir())
    wanted = file.relative_to(parent).parts[0]
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the nearest folder that exists is {parent}"
    raise InputError(f"{file} does not exist: {hint}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where it is gzipped."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        try:
            yield stream
        except (gzip.BadGzipFile, EOFError) as error:
            raise not_readable(
                str(path), error, "The gzip file is damaged or cut off: copy it again."
            ) from error


def _first_character(path: Path) -> bytes:
    with _opened(path) as stream:
        return stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _parse(text: str) -> Any:
    """The JSON value; errors of any kind are ValueErrors."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _read_json_lines(path: Path) -> Iterator[Record]:
    with _opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not raw.strip():
                continue
            yield _json_record(number, raw.strip())


def _json_record(number: int, raw: bytes) -> Record:
    shown = raw.decode("utf-8", "backslashreplace")
    try:
        content = _parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Record(
            number, None, f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1}", shown
        )
    except ValueError as error:
        return Record(number, None, f"broken JSON: {error}", shown)
    if not isinstance(content, dict):
        return Record(number, None, f"not a JSON object: {type(content).__name__}", shown)
    return Record(number, content)


def _read_json_array(path: Path) -> Iterator[Record]:
    with _opened(path) as stream:
        data = stream.read().removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
        items = _parse(text)
    except ValueError as error:
        raise not_readable(str(path), error, _CONVERT) from error
    lines = _array_lines(text)
    for item in items:
        line = next(lines)
        if isinstance(item, dict):
            yield Record(line, item)
        else:
            yield Record(line, None, f"not a JSON object: {type(item).__name__}", repr(item))


def _array_lines(text: str) -> Iterator[int]:
    """The line on which each element of a valid top-level array begins."""
    decoder, position, line = (
        json.JSONDecoder(),
        text.index("[") + 1,
        1 + text.count("\n", 0, text.index("[")),
    )
    while True:
        start = position
        while text[start] in " \t\r\n,":
            start += 1
        line += text.count("\n", position, start)
        if text[start] == "]":
            return
        yield line
        _, position = decoder.raw_decode(text, start)
        line += text.count("\n", start, position)


def _read_csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(CSV_FIELD_CHARS)
    with _opened(path) as stream:
        # Bytes that are not UTF-8 become lone surrogates, which the check of each row then reports.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.reader(text, strict=True)
        header = next(rows, [])
        doubled = sorted({name for name in header if header.count(name) > 1})
        if doubled:
            raise InputError(f"{path} has two columns called {', '.join(doubled)}: rename one of them")
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Record(line, None, f"broken CSV: {error}")
                continue
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                problem = f"broken CSV: {len(row)} fields where the header has {len(header)}"
                yield Record(line, None, problem, ",".join(row))
            else:
                yield Record(line, dict(zip(header, row, strict=True)))


def _read_parquet(path: Path, paths: Sequence[str]) -> Iterator[Record]:
    import pyarrow as pa  # noqa: PLC0415 - a tenth of a second that other formats need not pay
    import pyarrow.parquet as pq  # noqa: PLC0415

    remedy = "Write it again, or save it as UTF-8 JSON Lines."
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            needed = needed_columns(paths, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=needed):
                for content in batch.to_pylist():
                    number += 1
                    yield Record(number, content)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise not_readable(str(path), error, remedy) from error


BATCH_ROWS = 1_000
_REMEDY = (
    "Check questions.name, subset, split and revision, and that this machine reaches the hub or has the data set in "
    "its cache; or download it and give the file (kind: file)."
)


def _title(source: HubQuestions) -> str:
    parts = [source.name, source.subset, source.split, source.revision]
    return "data set " + " / ".join(part for part in parts if part)


def open_hub(source: HubQuestions) -> RowSource:
    """The split's rows.

    Raises:
        InputError: there is no such data set, subset, split or revision, or it cannot be fetched.
    """
    import datasets  # noqa: PLC0415 - half a second that files need not pay

    try:
        data = datasets.load_dataset(source.name, source.subset, split=source.split, revision=source.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise not_readable(_title(source), error, _REMEDY) from error
    needed = needed_columns(all_paths(source.columns), data.column_names)
    return RowSource(_title(source), source.name, _rows(data.select_columns(needed)))


def _rows(data: Any) -> Iterator[Record]:
    number = 0
    for batch in data.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for content in batch.to_pylist():
            number += 1
            yield Record(number, content)


def hub_fingerprint(source: HubQuestions) -> str:
    """The hash that `datasets` gives this version of the data: of the hub's commit, or of the local files.

    Raises:
        InputError: as for `open_hub`.
    """
    import datasets  # noqa: PLC0415

    try:
        return datasets.load_dataset_builder(source.name, source.subset, revision=source.revision).hash
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise not_readable(_title(source), error, _REMEDY) from error
