"""Questions: read, cleaned, and kept apart from the evaluation sets."""

import logging
from dataclasses import dataclass, field
from typing import Any

from spot_core.config.decontamination import DecontaminationConfig
from spot_core.config.model import PromptConfig
from spot_core.config.questions import QuestionSource
from spot_core.datasets import read_questions
from spot_core.datasets.overlap import find_overlaps
from spot_core.datasets.questions import reasons_of
from spot_core.errors import InputError
from spot_core.store import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.store.writer import write_parquet

log = logging.getLogger(__name__)

CODE_VERSION = 3
REJECTED_FILE = "rejected.parquet"
_NOT_DECIDING = {"path"}  # the file's content decides, wherever it lies


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        source: where the questions come from.
        shown: prompt whose worked examples must not be among the questions.
        apart: how questions to learn from are kept apart from held-out ones; None for an evaluation set, which
            stays whole.
        held_out: the held-out sets by name.
    """

    source: QuestionSource
    shown: PromptConfig
    apart: DecontaminationConfig | None = None
    held_out: dict[str, Artifact] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What decides which rows are used, beside the content of the source and of the held-out sets."""
        whole = self.apart is None
        settings = self.source.model_dump(
            mode="json", exclude=_NOT_DECIDING | ({"near_duplicates"} if whole else set())
        )
        settings["shown"] = [example.question for example in self.shown.examples]
        if self.apart is not None and self.apart.enabled:
            settings["decontamination"] = self.apart.model_dump(include={"words", "boilerplate_share"})
        return settings

    def inputs(self) -> dict[str, str]:
        """Content digests of the held-out sets that count."""
        return {f"held_out/{name}": artifact.digest for name, artifact in self._compared().items()}

    def usable(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
        """Returns the usable rows, the ones set aside, and statistics.

        Raises:
            InputError: the source is missing, or nothing usable is left of it.
        """
        questions = read_questions(self.source, whole=self.apart is None)
        apart = self.apart or DecontaminationConfig()
        overlaps = find_overlaps(
            [row["question"] for row in questions.rows],
            held_out={name: _texts(artifact) for name, artifact in self._compared().items()},
            shown=[example.question for example in self.shown.examples],
            words=apart.words,
            boilerplate_share=apart.boilerplate_share,
        )
        kept = [row for number, row in enumerate(questions.rows) if number not in overlaps.reasons]
        if not kept:
            raise InputError(
                f"no question of {getattr(self.source, 'path', self.source.kind)!r} is left: all "
                f"{len(questions.rows)} also stand in evaluation sets or in prompt.examples (the first: "
                f"{overlaps.reasons[0]}); use other questions"
            )
        if overlaps.boilerplate:
            log.warning(
                "%d runs of %d words are in evaluation sets too, but in so many questions that they count as "
                "boilerplate (decontamination.boilerplate_share): the most frequent is %r",
                len(overlaps.boilerplate),
                apart.words,
                overlaps.boilerplate[0],
            )
        held_out = [
            {"file": row["source"], "line": None, "reason": reason, "content": row["question"][:500]}
            for number, reason in overlaps.reasons.items()
            for row in [questions.rows[number]]
        ]
        rejected = questions.rejected + held_out
        statistics = {
            "rejected": len(rejected),
            "set_aside": dict((questions.set_aside + reasons_of(held_out)).most_common()),
            "near_conflicts": questions.near_conflicts,
            "boilerplate_runs": len(overlaps.boilerplate),
        }
        return kept, rejected, statistics

    def _compared(self) -> dict[str, Artifact]:
        return self.held_out if self.apart is not None and self.apart.enabled else {}


def recipe(reading: Reading, *, content: str) -> Recipe:
    """Recipe of a question set. ``content`` is the digest of what is there now, from `content_digest`."""
    return Recipe(
        stage="questions",
        settings=reading.settings(),
        inputs={"source": content} | reading.inputs(),
        code_version=CODE_VERSION,
    )


def make(writer: ArtifactWriter, reading: Reading) -> None:
    """Reads a source and writes its usable questions; the others go to ``rejected.parquet`` with a reason.

    Raises:
        InputError: the source is missing, or nothing usable is left of it.
    """
    rows, rejected, statistics = reading.usable()
    names = schemas.QUESTIONS.names
    kept = sorted(({name: row[name] for name in names} for row in rows), key=lambda row: row["question_id"])
    writer.complete(kept, statistics=statistics, files=write_rejected(writer, rejected))


def write_rejected(writer: ArtifactWriter, rejected: list[dict[str, Any]]) -> list:
    """Writes the rows that were set aside, if any; returns the paths written."""
    if not rejected:
        return []
    path = writer.folder / REJECTED_FILE
    write_parquet(path, rejected, schemas.REJECTED, what="rejected rows")
    log.warning("%d input rows were set aside, with reasons, in %s", len(rejected), path)
    return [path]


def _texts(artifact: Artifact) -> list[str]:
    return artifact.table(columns=["question"]).column("question").to_pylist()
