"""Finds the labelled data that benchmarks use and that may not be copied into the project (licences)."""

import json
import os
from pathlib import Path
from typing import Any

_VARIABLE = "SPOT_SHARED_DATA"
_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_rows(name: str) -> list[dict[str, Any]]:
    """The rows of one file of the shared data.

    Raises:
        SystemExit: the data is not there; with what to do.
    """
    folder = Path(os.environ.get(_VARIABLE) or _DEFAULT)
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise SystemExit(
            f"{path} is missing: this benchmark runs on real responses that are no part of the project. "
            f"Set {_VARIABLE} to the folder that holds them"
        )
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
