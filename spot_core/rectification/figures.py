"""Every figure of the rectify stage in one long table: table, group, figure, value."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from spot_core.rectification.measures import Measures
from spot_core.rectification.statistics import (
    ACCEPTED,
    DECILES,
    costs_by_oracle,
    counts,
    first_edits,
    rates_by_attempt,
    rates_by_earlier_status,
    right_ratios,
)

Figure = tuple[str, str, str, float]
"""Table, group, figure, value: a row of `schemas.STATISTICS`."""

_MOST_REGIONS = 10  # edits with as many regions or more are counted together
_MOST_REASONS = 20  # wordings listed for each Oracle and status


def figures(measures: Measures, *, gamma: float) -> Iterator[Figure]:
    """Every figure; what has no value (a mean of nothing) is left out.

    Tables: status, flags (group: status), change_ratio (group: status, or `right` for all right edits), edit_regions,
    edits_by_regions, first_edit, shared_prefix_share, accept_rate and proposals (group: Oracle and attempt),
    accept_rate_after (Oracle and the status before), reasons (Oracle and status), cost (Oracle).
    """
    for part in (_outcomes(measures), _edits(measures, gamma), _asking(measures)):
        for table, group, figure, value in part:
            if not pd.isna(value):
                yield table, str(group), str(figure), float(value)


def _outcomes(measures: Measures) -> Iterator[tuple[str, Any, Any, Any]]:
    statuses = measures.rows["status"]
    for status, count in counts(statuses).items():
        yield "status", "all", status, count
    flags = measures.flags.assign(status=statuses.to_numpy()[measures.flags["row"]])
    for (status, flag), count in _sizes(flags, ["status", "flag"]):
        yield "flags", status, flag, count


def _edits(measures: Measures, gamma: float) -> Iterator[tuple[str, Any, Any, Any]]:
    rows = measures.rows
    for status, some in rows.dropna(subset="change_ratio").groupby("status", observed=True):
        yield from _distribution("change_ratio", status, some["change_ratio"])
    right = right_ratios(rows)
    yield from _distribution("change_ratio", "right", right)
    yield "change_ratio", "right", "over_gamma_share", (right > gamma).mean()

    pairs = rows[rows["status"] == ACCEPTED]
    yield from _distribution("edit_regions", ACCEPTED, pairs["edit_regions"])
    for regions, count in pairs["edit_regions"].clip(upper=_MOST_REGIONS).value_counts(sort=False).items():
        yield "edits_by_regions", ACCEPTED, f"{regions:.0f}{'+' * (regions == _MOST_REGIONS)}", count
    yield from _distribution("first_edit", ACCEPTED, first_edits(pairs))
    shares = pairs["shared_prefix_tokens"] / pairs["rectified_tokens"]
    yield from _distribution("shared_prefix_share", ACCEPTED, shares)


def _asking(measures: Measures) -> Iterator[tuple[str, Any, Any, Any]]:
    for (oracle, attempt), rates in rates_by_attempt(measures).iterrows():
        yield from (("accept_rate", f"{oracle} · attempt {attempt}", *rate) for rate in rates.items())
    for (oracle, earlier), rates in rates_by_earlier_status(measures).iterrows():
        yield from (("accept_rate_after", f"{oracle} · {earlier}", *rate) for rate in rates.items())
    proposals = measures.proposals
    for (oracle, attempt, status), count in _sizes(proposals, ["oracle", "attempt", "status"]):
        yield "proposals", f"{oracle} · attempt {attempt}", status, count
    reasons = proposals.groupby(["oracle", "status", "reason"], observed=True).size()
    frequent = reasons.sort_values(ascending=False, kind="stable").groupby(level=[0, 1], observed=True)
    for (oracle, status, reason), count in frequent.head(_MOST_REASONS).items():
        yield "reasons", f"{oracle} · {status}", reason, count
    for oracle, costs in costs_by_oracle(measures).iterrows():
        yield from (("cost", oracle, *cost) for cost in costs.items())


def _distribution(table: str, group: Any, values: pd.Series) -> Iterator[tuple[str, Any, str, float]]:
    yield table, group, "rows", len(values)
    for name in ("mean", "median", "min", "max"):
        yield table, group, name, getattr(values, name)()
    for share, value in values.quantile(list(DECILES)).items():
        yield table, group, f"p{100 * share:.0f}", value


def _sizes(frame: pd.DataFrame, by: list[str]) -> Iterator[tuple[Any, int]]:
    yield from frame.groupby(by, observed=True).size().items()
