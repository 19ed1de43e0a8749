"""Pictures as PNG, or as Markdown that contains them: Prefect's UI shows these without a web server."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

_GREEN, _RED, _BLUE, _GREY = "#2a9d62", "#d1495b", "#30638e", "#8d99ae"
_PALE, _DARK = "#d5c4b0", "#22333b"


def embed_png(png: bytes, title: str) -> str:
    """Returns Markdown that contains a picture."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def _embed(figure: Figure, title: str) -> str:
    return embed_png(_png(figure), title)


def draw_change_ratios(accepted: Sequence[float], refused: Sequence[float], *, gamma: float) -> bytes:
    """Returns a PNG of the distribution of the change ratio R, as in the paper's Figure 5, with the limit γ.

    Args:
        accepted: R of the accepted edits, whose mean and median are marked.
        refused: R of the measured edits that were not accepted, stacked on top.
    """
    figure = Figure(figsize=(6.4, 3))
    axes = figure.subplots()
    axes.hist(
        [accepted, refused],
        bins=np.linspace(0, 1, 41),
        stacked=True,
        color=[_BLUE, _PALE],
        label=[f"accepted ({len(accepted):,})", f"not accepted ({len(refused):,})"],
    )
    axes.axvline(gamma, color=_RED, linestyle="--", label=f"γ = {gamma:g}")
    if len(accepted):
        for name, value, style in (
            ("mean", float(np.mean(accepted)), "-"),
            ("median", float(np.median(accepted)), ":"),
        ):
            label = f"{name} of accepted {value:.3f}"
            axes.axvline(value, color=_DARK, linestyle=style, linewidth=1.2, label=label)
    axes.set(xlabel="change ratio R(y⁻, y⁺)", ylabel="edits", xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _png(figure)


def draw_verdict_counts(counts: Mapping[str, int]) -> str:
    """Returns bars of the rows by verdict, with their shares."""
    figure = Figure(figsize=(6.4, 0.4 + 0.35 * len(counts)))
    axes = figure.subplots()
    names, values = list(counts), list(counts.values())
    colors = [{"correct": _GREEN, "incorrect": _RED}.get(name, _GREY) for name in names]
    bars = axes.barh(names, values, color=colors)
    axes.bar_label(bars, labels=[f" {v:,} ({v / sum(values):.1%})" for v in values], fontsize=8)
    axes.set(xlabel="rows", xlim=(0, 1.3 * max(values)))
    axes.invert_yaxis()
    return _embed(figure, "rows by verdict")


def draw_training_curves(
    steps: Sequence[int],
    loss: Sequence[float],
    chosen: Sequence[float | None],
    rejected: Sequence[float | None],
) -> str:
    """Returns curves of the loss and of the rewards of both responses over the optimizer steps."""
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
    return _embed(figure, "training curves")


def draw_accuracies(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    errors: Sequence[tuple[float, float]],
) -> str:
    """Returns bars of the accuracies of both models on every data set, with 95 % intervals.

    Args:
        before: accuracies as shares; ``after`` likewise.
        errors: half widths of the intervals of both.
    """
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
    return _embed(figure, "accuracy before and after")
