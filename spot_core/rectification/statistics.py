"""Figures of the rectified rows."""

from collections import Counter
from typing import Any

import pandas as pd


def statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Change-ratio statistics and what became of every failure, for the manifest and the summary."""
    accepted = [row for row in rows if row["status"] == "accepted"]
    ratios = pd.Series([row["change_ratio"] for row in accepted], dtype="float64")
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    return {
        "failures": len(rows),
        "pairs": len(accepted),
        "status": dict(Counter(row["status"] for row in rows).most_common()),
        "change_ratio": None
        if ratios.empty
        else {
            "mean": float(ratios.mean()),
            "median": float(ratios.median()),
            "p90": float(ratios.quantile(0.9)),
            "max": float(ratios.max()),
        },
        "shared_prefix_share": None
        if not accepted
        else sum(row["shared_prefix_tokens"] for row in accepted)
        / sum(len(row["rectified_token_ids"]) for row in accepted),
        "cost_usd": sum(costs),
        "oracle_tokens": sum(row["oracle_input_tokens"] + row["oracle_output_tokens"] for row in rows),
    }
