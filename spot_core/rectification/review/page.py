"""The review page: failures that wait for a person, as JSON in a page that edits them."""

from collections.abc import Sequence
from typing import Any

from spot_core.web_page import fill_template, to_json

_SCRIPTS = ("field.js", "words.js", "drafts.js", "list.js", "main.js")


def render_review_page(waiting: Sequence[dict[str, Any]], *, artifact: str, gamma: float, folder: str) -> str:
    """Returns a page on which each failure can be edited or skipped.

    Args:
        waiting: the lines of failures.jsonl.
        artifact: names the artifact that the edits are for; drafts in the browser are kept under this name.
        gamma: largest change ratio that is accepted.
        folder: where the edits are to be put.
    """
    page = fill_template(__package__, "review.html", style="review.css", scripts=_SCRIPTS)
    before_rows, rest = page.split("{{rows}}")
    before_facts, after_facts = rest.split("{{facts}}")
    rows = ",\n".join(to_json(_entry(row)) for row in waiting)
    facts = to_json({"artifact": artifact, "gamma": gamma, "folder": folder})
    return f"{before_rows}[\n{rows}\n]{before_facts}{facts}{after_facts}"


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["question_id"],
        "sample": row["sample"],
        "question": row["question"],
        "gold": row["answer"],
        "response": row["response"],
        "reason": row["reason"],
        "previous": row["rectified"],
    }
