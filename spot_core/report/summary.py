"""summary.json: one flat file that a person or a script reads first."""

import json
from statistics import fmean
from typing import Any

from spot_core.artifacts import Artifact
from spot_core.artifacts.manifest import write_atomically
from spot_core.config.spot import EvaluationSet, SpotConfig
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run, UsedArtifact

SUMMARY = "summary.json"
_STAGE_OF = {"questions": "prepare", "reference": "train"}


def write_summary(run: Run) -> dict[str, Any]:
    """Returns the summary of a run and writes it into the run's folder."""
    summary = summarise(run)
    write_atomically(run.folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def summarise(run: Run) -> dict[str, Any]:
    """The figures of a run. Accuracies are means over the data sets of a role; shares, not percentages."""
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
        "questions": checked.rows if checked else None,
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
    return {
        d.name: {"role": d.role}
        | {
            when: {
                k: a.statistics[k] for k in ("accuracy", "half_width_95", "questions", "samples", "answered")
            }
            for when, artifacts in evaluations.items()
            if (a := artifacts[d.name]) is not None
        }
        for d in datasets
    }


def _seconds(used: dict[str, UsedArtifact]) -> dict[str, float]:
    """Wall time of this run by stage; what was reused took none."""
    seconds: dict[str, float] = {}
    for name, artifact in used.items():
        room = name.split("/")[0]
        stage = _STAGE_OF.get(room, room)
        seconds[stage] = seconds.get(stage, 0.0) + (0.0 if artifact.reused else artifact.seconds)
    return {stage: round(value, 1) for stage, value in seconds.items()}
