"""Looks for secrets where they must not be: in files of any kind, decompressed, in any usual spelling."""

import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import psutil
import pyarrow.parquet as pq


def spellings(secret: str) -> set[str]:
    """The secret as it is, in JSON, in an address, and in base64."""
    coded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), coded}


def shown(text: str, secrets: Mapping[str, str]) -> list[str]:
    """Names of the secrets that a text shows."""
    return [
        name for name, secret in secrets.items() if any(spelling in text for spelling in spellings(secret))
    ]


def text_of(path: Path) -> str:
    """What a reader of a file sees: a table's values and metadata, a database's rows, else its bytes."""
    raw = path.read_bytes()
    text = raw.decode(errors="replace")
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        text += f"{table.to_pylist()} {table.schema.metadata}"
    elif raw.startswith(b"SQLite format 3"):
        # A long value lies in several pages of the file.
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            text += "\n".join(database.iterdump())
    return text


def shown_in_files(folders: Iterable[Path], secrets: Mapping[str, str]) -> list[str]:
    """Every file below the folders that shows a secret, with the secret's name."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found += [f"{path}: {name}" for name in shown(f"{path} {text_of(path)}", secrets)]
    return found


def shown_in_command_lines(secrets: Mapping[str, str]) -> list[str]:
    """Every process whose command line, which all users of a machine can read, shows a secret."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        found += [f"{line[:200]}: {name}" for name in shown(line, secrets)]
    return found
