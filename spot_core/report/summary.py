"""The summary of a run, `summary.json`: one flat file that a person or a script reads first."""

import json
import math
from statistics import fmean
from typing import Any

from spot_core.config.spot import EvaluationSet, SpotConfig
from spot_core.pipeline.evaluate import Z_95
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run, UsedArtifact
from spot_core.store import Artifact
from spot_core.store.manifest import write_atomically

SUMMARY = "summary.json"
_FIGURES = ("accuracy", "half_width_95", "questions", "samples", "answered")
_STAGE_OF = {"questions": "prepare", "reference": "train"}


def write_summary(run: Run) -> dict[str, Any]:
    """Writes the summary of a run into the run's folder, publishes it, and returns it."""
    summary = summarise(run)
    write_atomically(run.folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    run.publish()
    return summary


def summarise(run: Run) -> dict[str, Any]:
    """Returns the figures of a run. Accuracies are means over the data sets of a role, as shares."""
    resolver, used = Resolver(run), run.record.used
    rectified, trained = resolver.rectify().artifact, resolver.train().artifact
    checked = resolver.filter().artifact
    evaluations = {
        when: {d.name: resolver.evaluation(d, when).artifact for d in run.config.evaluate.datasets}
        for when in ("before", "after")
    }
    training = trained.statistics if trained else {}
    edits = rectified.statistics if rectified else {}
    return {
        "run_name": run.name,
        "profile": run.config.profile,
        "objective": run.config.train.objective,
        **_accuracies(run.config, evaluations),
        "evaluation": _by_dataset(run.config.evaluate.datasets, evaluations),
        "questions": checked.statistics.get("questions", checked.rows) if checked else None,
        "failures": edits.get("failures"),
        "pairs": edits.get("pairs"),
        "change_ratio": edits.get("change_ratio"),
        "final_loss": training.get("final_loss"),
        "reward_chosen": training.get("reward_chosen"),
        "reward_rejected": training.get("reward_rejected"),
        "skipped": run.record.skipped,
        "seconds": _seconds(used),
        "stages": {
            name: {"key": a.key, "generation": a.generation, "rows": a.rows, "reused": a.reused}
            for name, a in used.items()
        },
    }


def _accuracies(
    config: SpotConfig, evaluations: dict[str, dict[str, Artifact | None]]
) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for field, role in (("accuracy", "in_domain"), ("retention", "retention")):
        names = [d.name for d in config.evaluate.datasets if d.role == role]
        for when, artifacts in evaluations.items():
            found = [artifacts[name].statistics["accuracy"] for name in names if artifacts[name]]
            figures[f"{field}_{when}"] = fmean(found) if names and len(found) == len(names) else None
    return figures


def _by_dataset(
    datasets: tuple[EvaluationSet, ...], evaluations: dict[str, dict[str, Artifact | None]]
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for dataset in datasets:
        before, after = (evaluations[when][dataset.name] for when in ("before", "after"))
        if before is None or after is None:
            continue
        figures[dataset.name] = {
            "role": dataset.role,
            "before": {name: before.statistics[name] for name in _FIGURES},
            "after": {name: after.statistics[name] for name in _FIGURES},
            "change": compute_paired_change(before, after),
        }
    return figures


def compute_paired_change(before: Artifact, after: Artifact) -> dict[str, float]:
    """Returns the change in accuracy, with its 95 % interval over questions that both models answered, as shares."""
    rates = [
        a.table(columns=["question_id", "verdict"])
        .to_pandas()
        .assign(correct=lambda rows: rows["verdict"] == "correct")
        .groupby("question_id")["correct"]
        .mean()
        for a in (before, after)
    ]
    change = (rates[1] - rates[0]).astype("float64")
    assert not change.isna().any(), "both models answer the same questions"
    deviation = float(change.std(ddof=1)) if len(change) > 1 else 0.0
    return {
        "accuracy": float(change.mean()),
        "half_width_95": Z_95 * deviation / math.sqrt(len(change)),
        "improved": int((change > 0).sum()),
        "worsened": int((change < 0).sum()),
    }


def _seconds(used: dict[str, UsedArtifact]) -> dict[str, float]:
    """Returns the wall time of this run by stage; a reused artifact took none."""
    seconds: dict[str, float] = {}
    for name, artifact in used.items():
        room = name.split("/")[0]
        stage = _STAGE_OF.get(room, room)
        seconds[stage] = seconds.get(stage, 0.0) + (0.0 if artifact.reused else artifact.seconds)
    return {stage: round(value, 1) for stage, value in seconds.items()}
