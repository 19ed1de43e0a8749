"""How small the edits are, what was accepted, and what it cost: the manifest's figures and rates."""

from typing import Any

import pandas as pd

from spot_core.rectification.measures import Measures

ACCEPTED = "accepted"
RIGHT = (ACCEPTED, "flagged", "too_different", "too_long")
"""Statuses of edits whose answer is right: over γ or not is asked of these alone."""
DECILES = tuple(tenth / 10 for tenth in range(1, 10))


def statistics(measures: Measures, *, gamma: float) -> dict[str, Any]:
    """The stage's figures for its manifest and the run's summary; None where no pair or no right edit has them."""
    rows = measures.rows
    pairs = rows[rows["status"] == ACCEPTED]
    ratios, right = pairs["change_ratio"], right_ratios(rows)
    tokens, cost = int(rows["oracle_tokens"].sum()), float(rows["cost_usd"].sum())
    return {
        "failures": len(rows),
        "pairs": len(pairs),
        "status": counts(rows["status"]),
        "flags": counts(measures.flags["flag"]),
        "change_ratio": None
        if pairs.empty
        else {
            "mean": float(ratios.mean()),
            "median": float(ratios.median()),
            "p90": float(ratios.quantile(0.9)),
            "max": float(ratios.max()),
        },
        "change_ratio_deciles": None
        if pairs.empty
        else [float(value) for value in ratios.quantile(list(DECILES))],
        "over_gamma_share": None if right.empty else float((right > gamma).mean()),
        "shared_prefix_share": None
        if pairs.empty
        else float(pairs["shared_prefix_tokens"].sum() / pairs["rectified_tokens"].sum()),
        "median_edit_regions": None if pairs.empty else float(pairs["edit_regions"].median()),
        "median_first_edit": None if pairs.empty else float(first_edits(pairs).median()),
        "cost_usd": cost,
        "oracle_tokens": tokens,
        "cost_usd_per_pair": None if pairs.empty else cost / len(pairs),
        "oracle_tokens_per_pair": None if pairs.empty else tokens / len(pairs),
    }


def first_edits(rows: pd.DataFrame) -> pd.Series:
    """Where in y⁻ the first edit is, from 0 (its first token) to 1: shared prefix over tokens of y⁻."""
    return rows["shared_prefix_tokens"] / rows["rejected_tokens"].clip(lower=1)


def right_ratios(rows: pd.DataFrame) -> pd.Series:
    """R of the edits whose answer is right, whether or not they are small enough."""
    return rows.loc[rows["status"].isin(RIGHT), "change_ratio"].dropna()


def rates_by_attempt(measures: Measures) -> pd.DataFrame:
    """How far each attempt of each Oracle got, indexed by (oracle, attempt).

    Columns: asked (failures), accepted, accept_rate, tokens, cost_usd. Several samples of one attempt are one: it is
    accepted if one of them is.
    """
    return _rates(_attempts(measures), ["oracle", "attempt"])


def rates_by_earlier_status(measures: Measures) -> pd.DataFrame:
    """How often asking again helped, by why the edit before was not taken, indexed by (oracle, earlier).

    Columns as `rates_by_attempt`. `oracle` is the one that was asked again, in a chain perhaps another one than before.
    """
    attempts = _attempts(measures)
    attempts["earlier"] = attempts.groupby("row")["status"].shift(1)
    return _rates(attempts.dropna(subset="earlier"), ["oracle", "earlier"])


def costs_by_oracle(measures: Measures) -> pd.DataFrame:
    """What each Oracle took for its pairs, indexed by oracle.

    Columns: asked (failures), proposals, pairs, tokens, cost_usd, and tokens_per_pair and cost_usd_per_pair (NaN
    without a pair).
    """
    rows = measures.rows
    costs = measures.proposals.groupby("oracle", observed=True).agg(
        asked=("row", "nunique"),
        proposals=("row", "size"),
        tokens=("tokens", "sum"),
        cost_usd=("cost_usd", "sum"),
    )
    accepted = rows.loc[rows["status"] == ACCEPTED, "oracle"].value_counts()
    costs.insert(2, "pairs", [int(accepted.get(oracle, 0)) for oracle in costs.index])
    pairs = costs["pairs"].where(costs["pairs"] > 0)
    return costs.assign(tokens_per_pair=costs["tokens"] / pairs, cost_usd_per_pair=costs["cost_usd"] / pairs)


def _attempts(measures: Measures) -> pd.DataFrame:
    """One line per attempt in the order they were made: row, oracle, attempt, accepted, status, tokens, cost_usd."""
    proposals = measures.proposals
    accepted = proposals["status"] == ACCEPTED
    attempts = (
        proposals.assign(accepted=accepted, place=range(len(proposals)))
        .groupby(["row", "oracle", "attempt"], observed=True)
        .agg(
            place=("place", "min"),
            accepted=("accepted", "any"),
            status=("status", "last"),
            tokens=("tokens", "sum"),
            cost_usd=("cost_usd", "sum"),
        )
    )
    return attempts.sort_values("place").reset_index()


def _rates(attempts: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    rates = attempts.groupby(by, observed=True).agg(
        asked=("accepted", "size"),
        accepted=("accepted", "sum"),
        tokens=("tokens", "sum"),
        cost_usd=("cost_usd", "sum"),
    )
    rates.insert(2, "accept_rate", rates["accepted"] / rates["asked"])
    return rates


def counts(words: pd.Series) -> dict[str, int]:
    """Occurrences of each word, the most frequent first."""
    found = words.value_counts()
    return {str(word): int(count) for word, count in found.items() if count}
