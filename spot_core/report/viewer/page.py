"""Writes the viewer: template, style, script, and the rows as JSON that no browser takes for anything else."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from spot_core.artifacts import Artifact
from spot_core.report.segments import segments
from spot_core.report.self_contained import as_json, template

MOST_ROWS = 20_000
MOST_BYTES = 96 * 2**20
"""Of the rows as JSON: what a browser opens in a few seconds."""
MOST_CHARACTERS = 100_000
"""Of one text; what is longer is shortened in the viewer, saying so."""

_COLUMNS = [
    "question_id",
    "sample",
    "question",
    "answer",
    "response",
    "rectified",
    "status",
    "reason",
    "flags",
    "change_ratio",
    "shared_prefix_tokens",
    "edit_regions",
    "attempts",
    "oracle",
    "oracle_input_tokens",
    "oracle_output_tokens",
    "cost_usd",
    "history",
]
_FEW_ROWS = 256  # in memory at once: their texts may be long
_SCRIPTS = ("texts.js", "latex.js", "difference.js", "rows.js", "detail.js", "main.js")


def write_viewer(
    path: Path, artifact: Artifact, *, gamma: float, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES
) -> int:
    """Writes the page and returns how many rows it shows: the first ones, as far as both limits go."""
    page = template(__package__, "viewer.html", style="viewer.css", scripts=_SCRIPTS)
    before_rows, rest = page.split("{{rows}}")
    before_about, after_about = rest.split("{{about}}")
    shown = size = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(before_rows)
        file.write("[\n")
        for line in _lines(artifact, most_rows):
            size += len(line.encode())
            if size > most_bytes:
                break
            file.write(f"{',' * bool(shown)}{line}\n")
            shown += 1
        file.write("]")
        file.write(before_about)
        about = {
            "rows": artifact.rows,
            "shown": shown,
            "gamma": gamma,
            "artifact": f"{artifact.stage}/{artifact.key}/{artifact.generation}",
        }
        file.write(as_json(about))
        file.write(after_about)
    return shown


def _lines(artifact: Artifact, most_rows: int) -> Iterator[str]:
    batches = artifact.batches(columns=_COLUMNS, rows=_FEW_ROWS)
    rows = (row for batch in batches for row in batch.to_pylist())
    for row in islice(rows, most_rows):
        yield as_json(_entry(row))


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """What the script needs of a row. `texts` joins up to y⁻ and y⁺: shared, old, new, shared, old, new …"""
    rejected = _shortened(row["response"])
    if row["rectified"] is None:
        texts = [rejected]
    else:
        texts = [text for segment in segments(rejected, _shortened(row["rectified"])) for text in segment]
    return {
        "id": f"{row['question_id']}/{row['sample']}",
        "question": _shortened(row["question"]),
        "gold": _shortened(row["answer"]),
        "texts": texts,
        "edited": row["rectified"] is not None,
        "status": row["status"],
        "reason": row["reason"],
        "flags": row["flags"],
        "ratio": row["change_ratio"],
        "prefix": row["shared_prefix_tokens"],
        "regions": row["edit_regions"],
        "attempts": row["attempts"],
        "oracle": row["oracle"],
        "tokens": row["oracle_input_tokens"] + row["oracle_output_tokens"],
        "cost": row["cost_usd"],
        "history": row["history"],
    }


def _shortened(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n… ({len(text) - MOST_CHARACTERS:,} more characters are not shown here)"
