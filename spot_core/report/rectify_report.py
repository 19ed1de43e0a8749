"""The report on a rectify artifact: files with figures, picture and all pairs; and the page of the stage."""

from pathlib import Path
from typing import Any

import pandas as pd

from spot_core.markdown import block, cell, details, percent, table
from spot_core.rectification.figures import figures as all_figures
from spot_core.rectification.measures import Measures
from spot_core.rectification.statistics import (
    ACCEPTED,
    DECILES,
    costs_by_oracle,
    first_edits,
    rates_by_attempt,
    rates_by_earlier_status,
    right_ratios,
    statistics,
)
from spot_core.report import plots
from spot_core.report.edits import render_edit
from spot_core.report.stage_pages import render_footer
from spot_core.report.viewer.page import write_viewer
from spot_core.store import Artifact, schemas
from spot_core.store.manifest import replaced
from spot_core.store.writer import write_parquet

STATISTICS = "statistics.parquet"
PICTURE = "change_ratio.png"
VIEWER = "pairs.html"
_EXAMPLES = 5
_SHORT = 1000  # tokens: longer responses are no examples if there are shorter ones
_TEXTS = ["question", "answer", "response", "rectified", "status", "reason", "change_ratio"]


def write_report(artifact: Artifact, folder: Path, *, gamma: float) -> None:
    """Writes `statistics.parquet`, `change_ratio.png` and `pairs.html`, each whole or not at all.

    Args:
        artifact: of the rectify stage.
        folder: created if it does not exist; files of an earlier report are replaced.
        gamma: largest change ratio that was accepted.
    """
    measures = Measures.of_artifact(artifact)
    with replaced(folder / STATISTICS) as path:
        lines = (
            dict(zip(schemas.STATISTICS.names, figure, strict=True))
            for figure in all_figures(measures, gamma=gamma)
        )
        write_parquet(path, lines, schemas.STATISTICS, what="the report's figures")
    with replaced(folder / PICTURE) as path:
        path.write_bytes(_draw_change_ratios(measures, gamma=gamma))
    with replaced(folder / VIEWER) as path:
        write_viewer(path, artifact, gamma=gamma)


def _draw_change_ratios(measures: Measures, *, gamma: float) -> bytes:
    """Returns a PNG of the change ratios of accepted and other measured edits."""
    measured = measures.rows.dropna(subset="change_ratio")
    accepted = measured["status"] == "accepted"
    return plots.draw_change_ratios(
        measured.loc[accepted, "change_ratio"].to_numpy(),
        measured.loc[~accepted, "change_ratio"].to_numpy(),
        gamma=gamma,
    )


def render_rectify_page(artifact: Artifact, *, gamma: float, report: Path | None = None) -> str:
    """Returns the page of the stage.

    Args:
        artifact: of the rectify stage; of its texts only those that are shown are read.
        gamma: largest change ratio that was accepted.
        report: folder that `write_report` filled; None where there is none.
    """
    measures = Measures.of_artifact(artifact)
    figures = statistics(measures, gamma=gamma)
    parts = ["# Rectified", f"**{figures['pairs']:,} pairs** of {figures['failures']:,} failures"]
    if report is not None:
        parts.append(_files(report))
    parts += [_counts("status", figures["status"], len(measures.rows))]
    if figures["flags"]:
        parts.append(_counts("flag", figures["flags"], len(measures.rows)))
    if not right_ratios(measures.rows).empty:
        parts += [
            "## Change ratio R",
            plots.embed_png(_draw_change_ratios(measures, gamma=gamma), "change ratios"),
        ]
        parts.append(_ratios(measures, gamma))
    if figures["pairs"]:
        parts += ["## Where the accepted edits are", _places(measures, figures)]
    if not measures.proposals.empty:
        parts += ["## Asking", *_asking(measures)]
    if repeated := artifact.statistics.get("calls_repeated"):
        parts.append(f"{repeated:,} calls were in flight when the stage was killed, and were made again.")
    parts += _examples(artifact, measures)
    return "\n\n".join(parts) + render_footer(artifact)


def _files(report: Path) -> str:
    return (
        f"Every pair, to filter and search, in one file for the browser: `{report / VIEWER}`  \n"
        f"All figures: `{report / STATISTICS}`, picture: `{report / PICTURE}`"
    )


def _counts(name: str, counts: dict[str, int], rows: int) -> str:
    return table([name, "rows", "share"], [(word, f"{n:,}", percent(n / rows)) for word, n in counts.items()])


def _ratios(measures: Measures, gamma: float) -> str:
    rows = measures.rows
    accepted, right = rows.loc[rows["status"] == ACCEPTED, "change_ratio"], right_ratios(rows)
    names = ["edits", f"over γ = {gamma:g}", "mean", *(f"p{100 * share:.0f}" for share in DECILES), "max"]
    columns = [_distribution(values, gamma) for values in (accepted, right)]
    header = ["change ratio R", "accepted", "all with the right answer"]
    return f"{table(header, zip(names, *columns, strict=True))}\n\np50 is the median."


def _distribution(values: pd.Series, gamma: float) -> list[str]:
    if values.empty:
        return ["0", *["–"] * (len(DECILES) + 3)]
    ratios = (values.mean(), *values.quantile(list(DECILES)), values.max())
    return [f"{len(values):,}", percent((values > gamma).mean()), *(f"{ratio:.3f}" for ratio in ratios)]


def _places(measures: Measures, figures: dict[str, Any]) -> str:
    pairs = measures.rows[measures.rows["status"] == ACCEPTED]
    regions, first = pairs["edit_regions"], first_edits(pairs)
    shares = pairs["shared_prefix_tokens"] / pairs["rectified_tokens"]
    lines = [
        ("edit regions", *(f"{v:.1f}" for v in (regions.mean(), *regions.quantile([0.1, 0.5, 0.9])))),
        ("share of y⁻ before the first edit", *_mean_and_spread(first)),
        ("share of y⁺ that is shared prefix", *_mean_and_spread(shares)),
    ]
    note = f"Of all tokens of y⁺, {percent(figures['shared_prefix_share'])} are in the shared prefixes."
    return f"{table(['figure', 'mean', 'p10', 'median', 'p90'], lines)}\n\n{note}"


def _mean_and_spread(shares: pd.Series) -> list[str]:
    return [percent(value) for value in (shares.mean(), *shares.quantile([0.1, 0.5, 0.9]))]


def _asking(measures: Measures) -> list[str]:
    costs = costs_by_oracle(measures)
    parts = [
        table(
            [
                "Oracle",
                "failures",
                "proposals",
                "pairs",
                "tokens",
                "cost",
                "tokens per pair",
                "cost per pair",
            ],
            [
                (
                    oracle,
                    f"{line.asked:,.0f}",
                    f"{line.proposals:,.0f}",
                    f"{line.pairs:,.0f}",
                    f"{line.tokens:,.0f}",
                    _dollars(line.cost_usd),
                    "–" if pd.isna(line.tokens_per_pair) else f"{line.tokens_per_pair:,.0f}",
                    _dollars(line.cost_usd_per_pair),
                )
                for oracle, line in costs.iterrows()
            ],
        ),
        _rates(rates_by_attempt(measures), "attempt"),
    ]
    again = rates_by_earlier_status(measures)
    if not again.empty:
        parts += ["Asked again, by why the proposal before was not taken:", _rates(again, "before")]
    return parts


def _rates(rates: pd.DataFrame, by: str) -> str:
    return table(
        ["Oracle", by, "asked", "accepted", "accept rate", "tokens", "cost"],
        [
            (
                oracle,
                value,
                f"{line.asked:,.0f}",
                f"{line.accepted:,.0f}",
                percent(line.accept_rate),
                f"{line.tokens:,.0f}",
                _dollars(line.cost_usd),
            )
            for (oracle, value), line in rates.iterrows()
        ],
    )


def _dollars(cost: float) -> str:
    if pd.isna(cost):
        return "–"
    return f"${cost:,.2f}" if cost == 0 or cost >= 0.01 else f"${cost:.2g}"


def _examples(artifact: Artifact, measures: Measures) -> list[str]:
    """Returns accepted edits from the smallest to the largest, and a row of every other status."""
    chosen, others = _spread(measures.rows), _first_of_others(measures.rows)
    rows = artifact.rows_at([*chosen, *others], columns=_TEXTS)
    parts = ["## Edits, from the smallest to the largest", "~~struck~~: y⁻, **bold**: y⁺"] if chosen else []
    for row in (rows[number] for number in chosen):
        title = f"**Gold {cell(row['answer'])}, R = {row['change_ratio']:.3f}**"
        parts.append(f"{title}\n{block(row['question'])}\n\n{render_edit(row['response'], row['rectified'])}")
    for row in (rows[number] for number in others):
        texts = {"Response": row["response"]}
        if row["rectified"] is not None:
            texts["Proposal"] = row["rectified"]
        parts.append(details(f"Example of {row['status']}: {row['reason'] or ''}", **texts))
    return parts


def _spread(rows: pd.DataFrame) -> list[int]:
    """Returns the numbers of accepted rows, evenly spread over their change ratios; short responses if there are any."""
    accepted = rows[rows["status"] == ACCEPTED]
    short = accepted[accepted["rejected_tokens"] <= _SHORT]
    ordered = (accepted if short.empty else short).sort_values("change_ratio", kind="stable").index
    last, steps = len(ordered) - 1, min(_EXAMPLES, len(ordered)) - 1
    return [int(ordered[round(step * last / max(1, steps))]) for step in range(steps + 1)]


def _first_of_others(rows: pd.DataFrame) -> list[int]:
    others = rows[rows["status"] != ACCEPTED].drop_duplicates("status")
    return [int(number) for number in others.index]
