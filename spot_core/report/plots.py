"""Pictures as data URIs, which Prefect's Markdown shows without a web server."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

_GREEN, _RED, _BLUE, _GREY = "#2a9d62", "#d1495b", "#30638e", "#8d99ae"


def _uri(figure: Figure, title: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def change_ratios(ratios: Sequence[float], *, gamma: float) -> str:
    """Histogram of the change ratio R with the limit γ, in the manner of the paper's Figure 5."""
    figure = Figure(figsize=(6.4, 3))
    axes = figure.subplots()
    axes.hist(ratios, bins=np.linspace(0, 1, 41), color=_BLUE)
    axes.axvline(gamma, color=_RED, linestyle="--", label=f"γ = {gamma:g}")
    if len(ratios):
        axes.axvline(float(np.mean(ratios)), color=_GREY, linestyle=":", label=f"mean {np.mean(ratios):.3f}")
    axes.set(xlabel="change ratio R(y⁻, y⁺)", ylabel="edits", xlim=(0, 1))
    axes.legend(frameon=False)
    return _uri(figure, "change ratios")


def verdict_counts(counts: Mapping[str, int]) -> str:
    """Bars of the rows by verdict, with their shares."""
    figure = Figure(figsize=(6.4, 0.4 + 0.35 * len(counts)))
    axes = figure.subplots()
    names, values = list(counts), list(counts.values())
    colors = [{"correct": _GREEN, "incorrect": _RED}.get(name, _GREY) for name in names]
    bars = axes.barh(names, values, color=colors)
    axes.bar_label(bars, labels=[f" {v:,} ({v / sum(values):.1%})" for v in values], fontsize=8)
    axes.set(xlabel="rows", xlim=(0, 1.3 * max(values)))
    axes.invert_yaxis()
    return _uri(figure, "rows by verdict")


def training_curves(
    steps: Sequence[int],
    loss: Sequence[float],
    chosen: Sequence[float | None],
    rejected: Sequence[float | None],
) -> str:
    """Loss, and the rewards of both responses, over the optimizer steps."""
    figure = Figure(figsize=(9, 3))
    left, right = figure.subplots(1, 2)
    left.plot(steps, loss, color=_BLUE)
    left.set(xlabel="optimizer step", ylabel="loss")
    if any(value is not None for value in chosen):
        right.plot(steps, chosen, color=_GREEN, label="chosen y⁺")
        right.plot(steps, rejected, color=_RED, label="rejected y⁻")
        right.axhline(0, color=_GREY, linewidth=0.8)
        right.legend(frameon=False)
    right.set(xlabel="optimizer step", ylabel="reward r")
    figure.tight_layout()
    return _uri(figure, "training curves")


def before_and_after(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    errors: Sequence[tuple[float, float]],
) -> str:
    """Accuracy of both models on every data set, with 95 % intervals. Shares, not percentages."""
    figure = Figure(figsize=(max(4.5, 1.7 * len(names)), 3))
    axes = figure.subplots()
    places = np.arange(len(names))
    for shift, values, index, color, label in (
        (-0.2, before, 0, _GREY, "before"),
        (0.2, after, 1, _GREEN, "after"),
    ):
        bars = axes.bar(
            places + shift, values, 0.38, yerr=[e[index] for e in errors], color=color, label=label
        )
        axes.bar_label(bars, labels=[f"{100 * v:.0f} %" for v in values], fontsize=8)
    axes.set_xticks(places, names)
    axes.set(ylabel="accuracy", ylim=(0, 1.1))
    figure.legend(frameon=False, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.03))
    return _uri(figure, "accuracy before and after")
