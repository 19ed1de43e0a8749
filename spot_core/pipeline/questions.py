"""Questions: read, cleaned, and kept apart from the evaluation sets."""

import logging
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from spot_core.artifacts import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.artifacts.writer import write_parquet
from spot_core.config.model import PromptConfig
from spot_core.config.questions import QuestionSource
from spot_core.datasets import read_questions
from spot_core.errors import InputError

log = logging.getLogger(__name__)

CODE_VERSION = 1
REJECTED_FILE = "rejected.parquet"
_NOT_DECIDING = {"path"}  # the file's content decides, wherever it lies


def recipe(
    source: QuestionSource, *, content: str, held_out: dict[str, Artifact], shown: PromptConfig
) -> Recipe:
    """Recipe of a question set.

    Args:
        source: where the questions come from.
        content: digest of what is there now, from `content_digest`.
        held_out: evaluation sets by name, whose questions must not be among these.
        shown: prompt whose worked examples must not be among these either.
    """
    return Recipe(
        stage="questions",
        settings=source.model_dump(mode="json", exclude=_NOT_DECIDING)
        | {"shown": [example.question for example in shown.examples]},
        inputs={"source": content} | {f"held_out/{n}": a.digest for n, a in held_out.items()},
        code_version=CODE_VERSION,
    )


def make(
    writer: ArtifactWriter, source: QuestionSource, *, held_out: dict[str, Artifact], shown: PromptConfig
) -> None:
    """Reads a source and writes its usable questions; the others go to ``rejected.parquet`` with a reason.

    Raises:
        InputError: the source is missing, or nothing usable is left of it.
    """
    rows, rejected = read_usable(source, held_out=held_out, shown=shown)
    statistics = {"rejected": len(rejected)}
    names = schemas.QUESTIONS.names
    kept = sorted(({name: row[name] for name in names} for row in rows), key=lambda row: row["question_id"])
    writer.complete(kept, statistics=statistics, files=write_rejected(writer, rejected))


def read_usable(
    source: QuestionSource, *, held_out: dict[str, Artifact], shown: PromptConfig
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the usable rows of a source and the ones set aside, evaluation questions and examples among them."""
    questions = read_questions(source)
    taken = {normalised(q): f"the evaluation set {name!r}" for name, a in held_out.items() for q in _texts(a)}
    taken |= {normalised(example.question): "prompt.examples" for example in shown.examples}
    kept, rejected = [], list(questions.rejected)
    for row in questions.rows:
        place = taken.get(normalised(row["question"]))
        if place is None:
            kept.append(row)
            continue
        reason = f"held_out: also a question of {place}"
        rejected.append(
            {"file": row["source"], "line": None, "reason": reason, "content": row["question"][:500]}
        )
    if not kept:
        raise InputError(
            f"no question of {getattr(source, 'path', source.kind)!r} is left: all {len(questions.rows)} also "
            "stand in evaluation sets or in prompt.examples; use other questions"
        )
    return kept, rejected


def write_rejected(writer: ArtifactWriter, rejected: list[dict[str, Any]]) -> list:
    """Writes the rows that were set aside, if any; returns the paths written."""
    if not rejected:
        return []
    path = writer.folder / REJECTED_FILE
    write_parquet(path, rejected, schemas.REJECTED, what="rejected rows")
    log.warning("%d input rows were set aside, with reasons, in %s", len(rejected), path)
    return [path]


def normalised(question: str) -> str:
    """The form in which two questions count as the same: case and white space aside."""
    return " ".join(question.casefold().split())


def _texts(artifact: Artifact) -> Iterable[str]:
    column: pa.ChunkedArray = artifact.table(columns=["question"]).column("question")
    return column.to_pylist()
