"""The pages of the stages, as Markdown for the Prefect UI. Those of filter and rectify have modules of their own."""

from itertools import islice
from typing import Any

from spot_core.config.spot import EvaluationSet
from spot_core.markdown import details, percent, points, table
from spot_core.report import plots
from spot_core.report.summary import compute_paired_change
from spot_core.runs import Run
from spot_core.store import Artifact

_EXAMPLES = 5


def render_footer(*artifacts: Artifact) -> str:
    """Returns where the page's artifacts are, how many rows they have, and how long they took."""
    lines = [
        f"`{a.stage}/{a.key}/{a.generation}` · {a.rows:,} rows · {a.manifest.seconds:.1f} s"
        for a in artifacts
    ]
    return "\n\n---\n" + "  \n".join(lines)


def render_inputs(run: Run, artifacts: list[Artifact]) -> str:
    """Returns the page of what was read and what was set aside."""
    names = [*(s.name for s in run.config.held_out), "questions"]
    rows = [
        (name, a.rows, _set_aside(a.statistics), f"{a.stage}/{a.key}")
        for name, a in zip(names, artifacts, strict=True)
    ]
    return "# Inputs\n\n" + table(["set", "usable rows", "set aside", "artifact"], rows)


def _set_aside(statistics: dict[str, Any]) -> str:
    """Returns how many rows were set aside, and for which reasons."""
    reasons = statistics.get("set_aside", {})
    listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    return f"{sum(reasons.values()):,} ({listed})" if reasons else "0"


def render_rollout(artifact: Artifact) -> str:
    """Returns the page of the rollout: how many responses there are, and a few of them."""
    figures = table(["figure", "value"], artifact.statistics.items())
    examples = "\n\n".join(
        details(row["question"][:120], Response=row["response"])
        for row in islice(artifact.rows_as_dicts(columns=["question", "response"]), _EXAMPLES)
    )
    return f"# Rollout\n\n{figures}\n\n## Examples\n\n{examples}{render_footer(artifact)}"


def render_reference(artifact: Artifact) -> str:
    """Returns the page of the reference pass: its figures, and tokens of the edits that the reference model hardly ever
    writes."""
    parts = ["# Reference log-probs", _figures(artifact)]
    if rows := artifact.statistics["unlikely_tokens"]:
        header = ["token", "unlikely in", "of the y⁺ that have it", "median log-prob", "for example"]
        found = [
            (
                repr(row["token"]),
                row["pairs"],
                row["standing"],
                f"{row['median_logprob']:.1f} nats",
                f"{row['question_id']}, sample {row['sample']}",
            )
            for row in rows
        ]
        parts.append(
            "> **Tokens of the rectified responses that the reference model hardly ever writes**: training would teach "
            "them. Are they how this model writes and ends its turns?"
        )
        parts.append(table(header, found))
    return "\n\n".join(parts) + render_footer(artifact)


def render_training(artifact: Artifact) -> str:
    """Returns the page of training: loss and rewards over the steps, and whether the checkpoint is what was trained."""
    columns = artifact.table().to_pydict()
    curves = plots.draw_training_curves(
        columns["step"], columns["loss"], columns["reward_chosen"], columns["reward_rejected"]
    )
    found = artifact.statistics["invariants"]["saved and trained"]
    share = found["share_of_change"]
    where = [
        f"Checkpoint: `{artifact.file('checkpoint')}`",
        f"Loaded again, it has the weights that training ended with; over {found['pairs']} pairs its log-probs differ from those of "
        f"the trained policy by at most {found['largest_difference']:.2g} nats per token"
        + ("." if share is None else f", and have {percent(share)} of the change that training made."),
    ]
    return "\n\n".join(["# Trained", curves, _figures(artifact), *where]) + render_footer(artifact)


def _figures(artifact: Artifact) -> str:
    """Returns a table of the statistics that are one number or word."""
    rows = [
        (name, value) for name, value in artifact.statistics.items() if not isinstance(value, dict | list)
    ]
    return table(["figure", "value"], rows)


def render_evaluation(datasets: tuple[EvaluationSet, ...], artifacts: dict[str, Artifact]) -> str:
    """Returns the page of the evaluation: both models side by side on every data set."""
    if not datasets:
        return "# Before and after\n\nNo data set is configured (`evaluate.datasets`)."
    scores = {
        d.name: {
            "role": d.role,
            "before": artifacts[f"before/{d.name}"].statistics,
            "after": artifacts[f"after/{d.name}"].statistics,
            "change": compute_paired_change(artifacts[f"before/{d.name}"], artifacts[f"after/{d.name}"]),
        }
        for d in datasets
    }
    picture = plots.draw_accuracies(
        list(scores),
        [s["before"]["accuracy"] for s in scores.values()],
        [s["after"]["accuracy"] for s in scores.values()],
        [(s["before"]["half_width_95"], s["after"]["half_width_95"]) for s in scores.values()],
    )
    return f"# Before and after\n\n{_score_table(scores)}\n\n{picture}"


def _score_table(scores: dict[str, dict[str, Any]]) -> str:
    rows = [
        (
            name,
            s["role"],
            s["before"]["questions"],
            percent(s["before"]["accuracy"], s["before"]["half_width_95"]),
            percent(s["after"]["accuracy"], s["after"]["half_width_95"]),
            points(s["change"]["accuracy"], s["change"]["half_width_95"]),
            f"{s['change']['improved']} / {s['change']['worsened']}",
        )
        for name, s in scores.items()
    ]
    header = ["data set", "role", "questions", "before", "after", "change", "better / worse"]
    note = "± 95 %, over questions; the change is paired. Better / worse: questions answered right more or less often."
    return f"{table(header, rows)}\n\n{note}"


def render_summary(run: Run, figures: dict[str, Any]) -> str:
    """Returns the page at the end of a run: results, what each stage did, and where the artifacts are.

    Args:
        figures: see `spot_core.report.summary.summarise`.
    """
    parts = [f"# Run {run.name}"]
    for stage, reason in figures["skipped"].items():
        parts.append(f"> **{stage} was skipped**: {reason}")
    if figures["evaluation"]:
        parts.append(_score_table(figures["evaluation"]))
        sampling = run.config.evaluate
        how = (
            "greedy"
            if sampling.temperature == 0
            else f"T = {sampling.temperature:g}, top-p = {sampling.top_p:g}"
        )
        parts.append(
            f"Sampled once per question ({how})."
            if sampling.samples == 1
            else f"avg@{sampling.samples}, {how}."
        )
    keys = ("objective", "questions", "failures", "pairs", "final_loss", "reward_chosen", "reward_rejected")
    parts.append(table(["figure", "value"], [(k, figures[k]) for k in keys if figures[k] is not None]))
    stages = [
        (
            name,
            a["rows"],
            "reused" if a["reused"] else "made",
            f"{name.split('/')[0]}/{a['key']}/{a['generation']}",
        )
        for name, a in figures["stages"].items()
    ]
    parts.append("## Artifacts\n\n" + table(["name", "rows", "", "folder"], stages))
    parts.append("## Seconds by stage\n\n" + table(["stage", "seconds"], figures["seconds"].items()))
    parts.append(f"`{run.folder / 'summary.json'}`")
    return "\n\n".join(parts)
