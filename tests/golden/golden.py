"""Compares a value with the one that is kept in this folder; UPDATE_GOLDEN=1 keeps the new one."""

import json
import os
from pathlib import Path
from typing import Any


def compare(name: str, value: Any) -> None:
    """Checks that ``value`` (JSON-ready) is that of ``<name>.json``."""
    path = Path(__file__).parent / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(json.dumps(value)) == json.loads(path.read_text(encoding="utf-8"))
