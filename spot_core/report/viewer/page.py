"""Writes the viewer: template, style, script, and rows and formulas as JSON that no browser takes for anything else."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from spot_core.report.edits import split_edit
from spot_core.report.viewer.formulas import FORMULA_PATTERN, FormulaTable
from spot_core.store import Artifact
from spot_core.web_page import fill_template, to_json

MOST_ROWS = 20_000
MOST_BYTES = 96 * 2**20
"""Of rows and formulas as JSON: what a browser opens in a few seconds."""
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
_SCRIPTS = ("formulas.js", "difference.js", "rows.js", "detail.js", "main.js")


def write_viewer(
    path: Path, artifact: Artifact, *, gamma: float, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES
) -> int:
    """Writes the page and returns how many rows it shows: the first ones, as far as both limits go."""
    page = fill_template(__package__, "viewer.html", style="viewer.css", scripts=_SCRIPTS)
    before_rows, rest = page.split("{{rows}}")
    before_formulas, rest = rest.split("{{formulas}}")
    before_about, after_about = rest.split("{{about}}")
    shown = size = 0
    table = FormulaTable()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(before_rows)
        file.write("[\n")
        for row in _rows(artifact, most_rows):
            line = to_json(_entry(row, table))
            size += len(line.encode())
            if size + table.size > most_bytes:
                break
            file.write(f"{',' * bool(shown)}{line}\n")
            shown += 1
        file.write("]")
        file.write(before_formulas)
        file.write("[\n" + ",\n".join(table.lines) + "\n]")
        file.write(before_about)
        about = {
            "rows": artifact.rows,
            "shown": shown,
            "gamma": gamma,
            "artifact": f"{artifact.stage}/{artifact.key}/{artifact.generation}",
            "formula": FORMULA_PATTERN,
            "all_formulas": table.is_complete,
        }
        file.write(to_json(about))
        file.write(after_about)
    return shown


def _rows(artifact: Artifact, most: int) -> Iterator[dict[str, Any]]:
    batches = artifact.batches(columns=_COLUMNS, rows=_FEW_ROWS)
    return islice((row for batch in batches for row in batch.to_pylist()), most)


def _entry(row: dict[str, Any], table: FormulaTable) -> dict[str, Any]:
    """Returns what the script needs of a row, and adds its formulas to the table.

    `texts` joins up to y⁻ and y⁺: shared, old, new, shared, old, new …
    """
    question, gold, rejected = (_shortened(row[name]) for name in ("question", "answer", "response"))
    for text in (question, gold, rejected):
        table.add(text)
    if row["rectified"] is None:
        texts = [rejected]
    else:
        rectified = _shortened(row["rectified"])
        table.add(rectified)
        texts = [text for segment in split_edit(rejected, rectified) for text in segment]
    return {
        "id": f"{row['question_id']}/{row['sample']}",
        "question": question,
        "gold": gold,
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
