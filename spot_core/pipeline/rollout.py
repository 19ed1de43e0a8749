"""Stage 1: sample y⁻ ~ π_ref(·|x), or take over responses that exist already."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spot_core.config.engine import answer_settings
from spot_core.config.spot import SpotConfig
from spot_core.inference.policy import Policy, Request, Response, request_seed
from spot_core.inference.prompts import PromptRenderer
from spot_core.pipeline import questions
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.questions import Reading
from spot_core.store import Artifact, ArtifactWriter, Recipe
from spot_core.store.journal import Journal

log = logging.getLogger(__name__)

CODE_VERSION = 1
IMPORT_VERSION = 2
"""Of imported responses, which end as the chat template ends a turn."""


def prompt_settings(config: SpotConfig) -> dict[str, Any]:
    """What decides the token ids of a prompt, beside the tokenizer."""
    return {
        "prompt": config.prompt.model_dump(mode="json"),
        "chat_template_kwargs": config.model.chat_template_kwargs,
    }


def sampling_settings(config: SpotConfig, sampling: Any) -> dict[str, Any]:
    """What decides a sampled response, beside the model."""
    return {
        **sampling.model_dump(mode="json", include={"temperature", "top_p", "max_new_tokens", "seed"}),
        **answer_settings(config.engine),
    }


def has_responses(config: SpotConfig) -> bool:
    """True if the input brings its own responses, so that the run begins at the filter."""
    columns = getattr(config.questions, "columns", None)
    return columns is not None and columns.response is not None


def recipe(config: SpotConfig, *, questions_digest: str, model: str) -> Recipe:
    """Recipe of the sampled responses. ``model`` is the policy's fingerprint."""
    return Recipe(
        stage="rollout",
        settings=prompt_settings(config)
        | sampling_settings(config, config.rollout)
        | {"samples": config.rollout.samples},
        inputs={"questions": questions_digest, "model": model},
        code_version=CODE_VERSION,
    )


def import_recipe(config: SpotConfig, reading: Reading, *, content: str, model: str) -> Recipe:
    """Recipe of imported responses (``content``: their digest); the model counts for its tokenizer and template."""
    return Recipe(
        stage="rollout",
        settings=prompt_settings(config) | {"imported": reading.settings(), "reader": questions.CODE_VERSION},
        inputs={"responses": content, "model": model} | reading.inputs(),
        code_version=IMPORT_VERSION,
    )


def sample_responses(
    journal: Journal,
    rows: Iterable[dict[str, Any]],
    *,
    policy: Policy,
    renderer: PromptRenderer,
    sampling: Any,
    samples: int = 1,
    on_progress: Progress = silent,
) -> None:
    """Samples what the journal lacks; every response is in it as soon as it is there.

    Args:
        journal: receives ``question_id, sample, prompt_token_ids, response, response_token_ids, finish_reason,
            seed``; what it holds already is not asked again.
        rows: questions, with ``question_id`` and ``question``.
    """
    done = {(record["question_id"], record["sample"]) for record in journal}
    requests = [
        Request(
            row["question_id"],
            sample,
            renderer.token_ids(row["question"]),
            request_seed(sampling.seed, row["question_id"], sample),
        )
        for row in rows
        for sample in range(samples)
        if (row["question_id"], sample) not in done
    ]
    total = len(done) + len(requests)
    if done:
        log.info("%d of %d responses are there from an earlier attempt", len(done), total)
    finished = len(done)
    on_progress(finished, total)

    def keep(request: Request, response: Response) -> None:
        nonlocal finished
        journal.append(
            {
                "question_id": request.question_id,
                "sample": request.sample,
                "prompt_token_ids": request.prompt_token_ids,
                "response": response.text,
                "response_token_ids": response.token_ids,
                "finish_reason": response.finish_reason,
                "seed": request.seed,
            }
        )
        finished += 1
        on_progress(finished, total)

    policy.answer(requests, sampling, keep)


def make(
    writer: ArtifactWriter,
    config: SpotConfig,
    *,
    questions: Artifact,
    model_path: Path,
    on_progress: Progress = silent,
) -> None:
    """Samples ``rollout.samples`` responses to every question.

    Raises:
        EngineError: the server cannot answer; finished responses are kept for the next attempt.
        InputError: the model has no chat template.
    """
    rows = list(questions.rows_as_dicts())
    renderer = PromptRenderer(model_path, config.model, config.prompt)
    journal = writer.journal()
    with Policy(
        model_path,
        config.engine,
        log_folder=writer.folder.parent / "logs",
        trust_remote_code=config.model.trust_remote_code,
    ) as policy:
        sample_responses(
            journal,
            rows,
            policy=policy,
            renderer=renderer,
            sampling=config.rollout,
            samples=config.rollout.samples,
            on_progress=on_progress,
        )
    by_id = {row["question_id"]: row for row in rows}
    final = sorted(_joined(journal, by_id), key=lambda row: (row["question_id"], row["sample"]))
    lengths = [len(row["response_token_ids"]) for row in final]
    writer.complete(
        final,
        statistics={
            "responses": len(final),
            "response_tokens": sum(lengths),
            "longest_response": max(lengths, default=0),
            "truncated": sum(row["finish_reason"] == "length" for row in final),
            "server_starts": policy.starts,
        },
    )


def _joined(journal: Journal, by_id: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in journal:
        row = by_id[record["question_id"]]
        yield {
            **record,
            "question": row["question"],
            "answer": row["answer"],
            "source": row["source"],
            "ids_sampled": True,
            "checker": row["checker"],
            "metadata": row["metadata"],
        }


def import_responses(
    writer: ArtifactWriter, config: SpotConfig, reading: Reading, *, model_path: Path
) -> None:
    """Writes responses that a user already has; they are tokenized here, once.

    A response counts as having stopped by itself, and so ends with the token that the chat template writes at the end
    of a turn, only where the mapped ``finish_reason`` says ``stop``.
    """
    rows, rejected, figures = reading.usable()
    renderer = PromptRenderer(model_path, config.model, config.prompt)
    tokenizer = renderer.tokenizer
    final = []
    for row in rows:
        finish_reason = row.get("finish_reason") or "unknown"
        end = [renderer.turn_end.written] if finish_reason == "stop" else []
        # Text that looks like a special token stays text.
        encoding = tokenizer(row["response"], add_special_tokens=False, split_special_tokens=True)
        final.append(
            {
                "question_id": row["question_id"],
                "sample": row["sample"],
                "question": row["question"],
                "answer": row["answer"],
                "source": row["source"],
                "prompt_token_ids": renderer.token_ids(row["question"]),
                "response": row["response"],
                "response_token_ids": encoding["input_ids"] + end,
                "ids_sampled": False,
                "finish_reason": finish_reason,
                "seed": None,
                "checker": row["checker"],
                "metadata": row["metadata"],
            }
        )
    final.sort(key=lambda row: (row["question_id"], row["sample"]))
    writer.complete(
        final,
        statistics={"responses": len(final), "imported": True, **figures},
        files=questions.write_rejected(writer, rejected),
    )
