"""Stage 5: accuracy of one model on one data set."""

import logging
import math
from collections import Counter
from typing import Any

from spot_core.config.spot import EvaluationSet, SpotConfig
from spot_core.inference.policy import Policy
from spot_core.inference.prompts import PromptRenderer
from spot_core.pipeline.filter import checker_settings, item_of, open_checker
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.rollout import sample_responses, sampling_settings
from spot_core.store import Artifact, ArtifactWriter, Recipe

log = logging.getLogger(__name__)

CODE_VERSION = 2
Z_95 = 1.959963984540054


def samples_of(config: SpotConfig, dataset: EvaluationSet) -> int:
    """Responses per question of a data set: the k of avg@k."""
    return dataset.samples or config.evaluate.samples


def recipe(config: SpotConfig, dataset: EvaluationSet, *, questions: Artifact, model: str) -> Recipe:
    """Recipe of one model's responses to one data set, so that ablations never evaluate the base again."""
    return Recipe(
        stage="evaluate",
        settings={
            "dataset": dataset.name,
            "prompt": (dataset.prompt or config.prompt).model_dump(mode="json"),
            "chat_template_kwargs": config.model.chat_template_kwargs,
            "samples": samples_of(config, dataset),
            "checker": checker_settings(dataset.checker),
            **sampling_settings(config, config.evaluate),
        },
        inputs={"questions": questions.digest, "model": model},
        code_version=CODE_VERSION,
    )


def make(
    writer: ArtifactWriter,
    *,
    config: SpotConfig,
    dataset: EvaluationSet,
    questions: Artifact,
    policy: Policy,
    renderer: PromptRenderer,
    on_progress: Progress = silent,
) -> None:
    """Samples responses to every question of the set and checks them.

    Raises:
        EngineError: the server cannot answer; finished responses are kept for the next attempt.
    """
    rows = {row["question_id"]: row for row in questions.rows_as_dicts()}
    journal = writer.journal()
    sample_responses(
        journal,
        rows.values(),
        policy=policy,
        renderer=renderer,
        sampling=config.evaluate,
        samples=samples_of(config, dataset),
        on_progress=on_progress,
    )
    answered = sorted(journal, key=lambda r: (r["question_id"], r["sample"]))
    items = [
        item_of(
            dataset.checker, r["response"], rows[r["question_id"]] | {"finish_reason": r["finish_reason"]}
        )
        for r in answered
    ]
    with open_checker(dataset.checker) as pool:
        verdicts = list(pool.check_many(items))
    final = [
        {
            "dataset": dataset.name,
            "question_id": record["question_id"],
            "sample": record["sample"],
            "question": rows[record["question_id"]]["question"],
            "answer": rows[record["question_id"]]["answer"],
            "response": record["response"],
            "finish_reason": record["finish_reason"],
            "extracted_answer": verdict.extracted_answer,
            "method": verdict.method,
            "verdict": verdict.verdict,
        }
        for record, verdict in zip(answered, verdicts, strict=True)
    ]
    writer.complete(final, statistics=accuracy_statistics(final, samples=samples_of(config, dataset)))


def accuracy_statistics(rows: list[dict[str, Any]], *, samples: int) -> dict[str, Any]:
    """Accuracy (avg@samples) with a 95 % interval that counts questions, not samples, as independent."""
    per_question: Counter[str] = Counter()
    questions = {row["question_id"] for row in rows}
    for row in rows:
        per_question[row["question_id"]] += row["verdict"] == "correct"
    rates = [per_question[question] / samples for question in questions]
    accuracy = sum(rates) / len(rates)
    variance = sum((rate - accuracy) ** 2 for rate in rates) / max(1, len(rates) - 1)
    return {
        "questions": len(questions),
        "samples": samples,
        "accuracy": accuracy,
        "half_width_95": Z_95 * math.sqrt(variance / len(rates)),
        "verdicts": dict(Counter(row["verdict"] for row in rows).most_common()),
        "answered": sum(row["extracted_answer"] is not None for row in rows) / len(rows),
    }
