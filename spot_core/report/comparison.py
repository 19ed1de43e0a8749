"""Two runs side by side: settings that differ, artifacts they share, and figures with what changed between them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spot_core.markdown import cell, percent, points, table
from spot_core.report.run_page import format_dollars
from spot_core.report.summary import compute_paired_change
from spot_core.runs import Run, UsedArtifact
from spot_core.store import Artifact
from spot_core.store.manifest import Manifest

NONE = "–"
_MOST_SHOWN = 50


@dataclass(frozen=True)
class Difference:
    """A setting with different values in both runs; None where it does not exist."""

    path: str
    a: Any
    b: Any


@dataclass(frozen=True)
class SharedArtifact:
    """An artifact that one or both runs used, as ``key/generation``; None where a run does not have it."""

    name: str
    a: str | None
    b: str | None
    same_content: bool
    """True for the same bytes, even if they were made twice."""

    @property
    def verdict(self) -> str:
        if self.a is None or self.b is None:
            return "only in one"
        if self.a == self.b:
            return "shared"
        return "same content" if self.same_content else "differs"


@dataclass(frozen=True)
class Figure:
    """A figure of both runs; ``change`` compares them question by question, with the half width of its 95 % interval."""

    name: str
    a: float | None
    b: float | None
    half_width_a: float | None = None
    half_width_b: float | None = None
    change: float | None = None
    half_width_change: float | None = None
    kind: str = "number"
    """number, share, usd or seconds."""


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common, and what differs."""

    a: str
    b: str
    settings: tuple[Difference, ...]
    artifacts: tuple[SharedArtifact, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the comparison for a script."""
        document = asdict(self)
        for line, artifact in zip(document["artifacts"], self.artifacts, strict=True):
            line["verdict"] = artifact.verdict
        return document

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Yields title, header and lines of each table, for the terminal and for a page."""
        settings = [(d.path, shorten(d.a), shorten(d.b)) for d in self.settings]
        yield "Settings that differ", ("setting", self.a, self.b), settings
        artifacts = [(s.name, s.a or NONE, s.b or NONE, s.verdict) for s in self.artifacts]
        yield "Artifacts", ("artifact", self.a, self.b, ""), artifacts
        figures = [_figure_line(figure) for figure in self.figures]
        yield "Figures", ("figure", self.a, self.b, f"{self.b} − {self.a}"), figures

    def markdown(self) -> str:
        """Returns the page for the Prefect UI."""
        parts = [f"# {cell(self.a)} and {cell(self.b)}"]
        for title, header, lines in self.tables():
            parts.append(f"## {title}")
            parts.append(table([cell(name) for name in header], lines) if lines else "None.")
        return "\n\n".join([*parts, *(f"> {cell(note)}" for note in self.notes)])


def compare_runs(a: Run, b: Run) -> Comparison:
    """Compares the artifacts that the records of two runs name. What a run has not made yet is missing on its side.

    Raises:
        ArtifactError: an artifact that is compared question by question is damaged.
    """
    names = list(dict.fromkeys([*a.record.used, *b.record.used]))
    notes = tuple(
        f"run {run.name}: {stage} was skipped: {why}"
        for run in (a, b)
        for stage, why in run.record.skipped.items()
    )
    return Comparison(
        a=a.name,
        b=b.name,
        settings=tuple(find_differences(a.record.config, b.record.config)),
        artifacts=tuple(_shared(name, a.record.used.get(name), b.record.used.get(name)) for name in names),
        figures=tuple(_figures(a, b, names)),
        notes=notes,
    )


def find_differences(a: Any, b: Any, path: str = "") -> Iterator[Difference]:
    """Yields the values that differ, by their path.

    A section that only one has is one value, and so is a list, unless its members have names (data sets).
    """
    if _are_named(a) and _are_named(b):
        a, b = ({member["name"]: member for member in members} for members in (a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in dict.fromkeys([*a, *b]):
            yield from find_differences(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    elif a != b:
        yield Difference(path, a, b)


def _are_named(members: Any) -> bool:
    return isinstance(members, list) and all(isinstance(one, Mapping) and "name" in one for one in members)


def _shared(name: str, a: UsedArtifact | None, b: UsedArtifact | None) -> SharedArtifact:
    return SharedArtifact(
        name,
        f"{a.key}/{a.generation}" if a else None,
        f"{b.key}/{b.generation}" if b else None,
        same_content=a is not None and b is not None and a.digest == b.digest,
    )


class _RunArtifacts:
    """The artifacts of a run. Statistics are read from their manifests alone, because a trained model may be large."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def artifact(self, name: str) -> Artifact | None:
        """Returns the artifact itself, verified."""
        used = self._run.record.used.get(name)
        return None if used is None else self._run.store.open(used.stage, used.key, used.generation)

    def manifest(self, name: str) -> Manifest | None:
        used = self._run.record.used.get(name)
        return None if used is None else self._run.store.manifest(used.stage, used.key, used.generation)

    def statistic(self, name: str, *path: str) -> Any:
        manifest = self.manifest(name)
        value: Any = None if manifest is None else manifest.statistics
        for part in path:
            value = None if value is None else value.get(part)
        return value


_PLAIN: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("failures", "rectify", ("failures",), "number"),
    ("pairs", "rectify", ("pairs",), "number"),
    ("mean change ratio", "rectify", ("change_ratio", "mean"), "number"),
    ("final loss", "train", ("final_loss",), "number"),
    ("reward of y⁺", "train", ("reward_chosen",), "number"),
    ("reward of y⁻", "train", ("reward_rejected",), "number"),
    ("cost of the edits", "rectify", ("cost_usd",), "usd"),
)


def _figures(a: Run, b: Run, names: list[str]) -> Iterator[Figure]:
    made = _RunArtifacts(a), _RunArtifacts(b)
    for name in names:
        if name.startswith("evaluate/"):
            yield _accuracy(name, *made)
    for title, name, path, kind in _PLAIN:
        values = [one.statistic(name, *path) for one in made]
        yield Figure(title, *values, kind=kind)
    for name in names:
        seconds = [run.record.used[name].seconds if name in run.record.used else None for run in (a, b)]
        yield Figure(f"seconds of {name}", *seconds, kind="seconds")


def _accuracy(name: str, a: _RunArtifacts, b: _RunArtifacts) -> Figure:
    """Returns the accuracies of a model on a data set, compared question by question if both runs asked the same ones."""
    when, dataset = name.split("/", maxsplit=2)[1:]
    asked = [manifest.inputs["questions"] for one in (a, b) if (manifest := one.manifest(name))]
    change: Mapping[str, float] = {}
    if len(asked) == 2 and asked[0] == asked[1]:
        answered = [artifact for one in (a, b) if (artifact := one.artifact(name))]
        change = compute_paired_change(*answered)
    return Figure(
        f"accuracy {when}, {dataset}",
        a.statistic(name, "accuracy"),
        b.statistic(name, "accuracy"),
        a.statistic(name, "half_width_95"),
        b.statistic(name, "half_width_95"),
        change.get("accuracy"),
        change.get("half_width_95"),
        kind="share",
    )


def _figure_line(figure: Figure) -> tuple[str, str, str, str]:
    if figure.kind == "share":
        change = NONE
        if figure.change is not None and figure.half_width_change is not None:
            change = points(figure.change, figure.half_width_change)
        return (
            figure.name,
            percent(figure.a, figure.half_width_a),
            percent(figure.b, figure.half_width_b),
            change,
        )
    show = _SHOWN[figure.kind]
    both = figure.a is not None and figure.b is not None
    difference = f"{figure.b - figure.a:+.4g}" if both else NONE  # type: ignore[operator]
    return figure.name, show(figure.a), show(figure.b), difference


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


_SHOWN: dict[str, Callable[[float | None], str]] = {
    "number": _number,
    "usd": lambda value: format_dollars(value) or NONE,
    "seconds": lambda value: NONE if value is None else f"{value:,.1f} s",
}


def shorten(value: Any) -> str:
    """Returns a setting's value, shortened: the UI would cut off the column of the other run."""
    text = NONE if value is None else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
