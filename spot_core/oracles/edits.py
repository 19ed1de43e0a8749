"""What a person has decided, from the files in a review folder: read strictly, for nothing of it shall get lost."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from spot_core.errors import InputError
from spot_core.oracles.human import Edits, Key

EDITS = "edits.jsonl"
_TAKEN = re.compile(r"taken-([0-9]+)\.jsonl")
_FIELDS = {"question_id", "sample", "rectified", "skip"}
_FAILURE = {"question", "answer", "response", "reason"}  # may stay in a copy of failures.jsonl
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_edits(folder: Path, *, known: Collection[Key]) -> Edits:
    """The edits in a review folder: those taken before and, before them, what `edits.jsonl` says.

    Failures that were skipped in a file taken before have their final row, or are asked about anew.

    Args:
        folder: the review folder; it need not exist.
        known: the failures that there may be edits of.

    Raises:
        InputError: a line cannot be used; the message names file, line and field.
    """
    texts: dict[Key, str] = {}
    for path in _taken(folder):
        texts |= {key: text for key, text in _read(path, known).items() if text is not None}
    new = _read(folder / EDITS, known) if (folder / EDITS).exists() else {}
    skipped = frozenset(key for key, text in new.items() if text is None)
    texts |= {key: text for key, text in new.items() if text is not None}
    return Edits(texts={key: text for key, text in texts.items() if key not in skipped}, skipped=skipped)


def take_edits(folder: Path) -> bool:
    """Sets `edits.jsonl` aside, once its every edit has a row, to make room for the next; False if there is none."""
    path = folder / EDITS
    if not path.exists():
        return False
    numbers = [int(match[1]) for taken in _taken(folder) if (match := _TAKEN.fullmatch(taken.name))]
    path.rename(folder / f"taken-{max(numbers, default=0) + 1}.jsonl")
    return True


def misnamed_edits(folder: Path) -> list[str]:
    """Files that were perhaps meant to be `edits.jsonl`, such as the second download of that name."""
    return sorted(path.name for path in folder.glob("edits*") if path.name != EDITS)


def _taken(folder: Path) -> list[Path]:
    found = [
        (int(match[1]), path) for path in folder.glob("taken-*") if (match := _TAKEN.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


def _read(path: Path, known: Collection[Key]) -> dict[Key, str | None]:
    """Edited text by failure; None for one that is skipped."""
    edits: dict[Key, str | None] = {}
    lines: dict[Key, int] = {}
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        key, text = _edit(_object(line, where), where)
        if key not in known:
            raise InputError(
                f"{where}: question_id {key[0]!r}, sample {key[1]}: no such failure in this artifact; use the ids of "
                "failures.jsonl in the same folder"
            )
        if key in edits and edits[key] != text:
            raise InputError(
                f"{where}: question_id {key[0]!r}, sample {key[1]} has another edit on line {lines[key]}: leave one"
            )
        edits[key], lines[key] = text, number
    return edits


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 ({error.reason}): save the file as UTF-8"
        ) from error
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error}); every line is one object") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: a JSON object is needed, not {line[:80]!r}")
    return value


def _edit(row: dict[str, Any], where: str) -> tuple[Key, str | None]:
    if unknown := sorted(row.keys() - _FIELDS - _FAILURE):
        raise InputError(
            f"{where}: unknown field {unknown[0]!r}; the fields are {', '.join(sorted(_FIELDS))}"
        )
    question_id, sample = row.get("question_id"), row.get("sample")
    if not isinstance(question_id, str):
        raise InputError(f"{where}: question_id = {question_id!r}: the text from failures.jsonl is needed")
    if not isinstance(sample, int) or isinstance(sample, bool):
        raise InputError(f"{where}: sample = {sample!r}: the whole number from failures.jsonl is needed")
    text, skip = row.get("rectified"), row.get("skip", False)
    if not isinstance(skip, bool):
        raise InputError(f"{where}: skip = {skip!r}: true or false is needed")
    if not isinstance(text, str | None):
        raise InputError(f"{where}: rectified = {text!r}: a text is needed")
    if skip:
        return (question_id, sample), None
    if text is None or not text.strip():
        raise InputError(
            f"{where}: rectified is empty: write the edited response, or skip: true, or leave the line out"
        )
    if half := _SURROGATE.search(text):
        raise InputError(
            f"{where}: rectified has half a character (U+{ord(half[0]):04X}) at place {half.start()}, which no file in "
            "UTF-8 can hold: delete it"
        )
    return (question_id, sample), text
