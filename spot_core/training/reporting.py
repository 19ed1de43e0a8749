"""Append-only JSON lines between training ranks and the process that launched them."""

import json
import os
from pathlib import Path
from typing import Any


def append_line(path: Path, row: dict[str, Any]) -> int:
    """Appends ``row`` as one JSON line; returns the file's size afterwards, in bytes."""
    with path.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
        return file.tell()


def truncate(path: Path, size: int) -> None:
    """Cuts a file of JSON lines back to ``size`` bytes, making it if it is missing."""
    path.touch()
    if path.stat().st_size < size:
        raise AssertionError(f"{path} lost rows: {path.stat().st_size} of {size} bytes are left")
    os.truncate(path, size)


class LineTail:
    """Reads what has been appended to a file since the last look, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_rows(self) -> list[dict[str, Any]]:
        """Rows that were completed since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _rest = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
