"""Which artifacts a run consists of, which of them are there, and what each hangs on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spot_core.config.decontamination import HeldOutSet
from spot_core.config.model import PromptConfig
from spot_core.config.questions import QuestionSource
from spot_core.config.spot import EvaluationSet, StageName
from spot_core.datasets import content_digest
from spot_core.models import fingerprint, fingerprint_of, resolve_model
from spot_core.pipeline import evaluate, questions, rectify, rollout, train
from spot_core.pipeline import filter as filtering
from spot_core.runs import Run
from spot_core.store import Artifact, Recipe

WHENS = ("before", "after")


@dataclass(frozen=True)
class Node:
    """One artifact of a run.

    Attributes:
        name: unique within the run, such as ``rollout`` or ``evaluate/after/chains``.
        recipe: what it is made from; None while an input of it is missing (*pending*).
        artifact: None if it is not there, or damaged.
    """

    name: str
    recipe: Recipe | None
    artifact: Artifact | None


class Resolver:
    """Looks the artifacts of a run up in the store, each time anew; what the run starts from (the model, the
    question sources) is hashed once.

    Args:
        run: the run.
        download: fetch a model from the hub if it is not here; a dry run does not.
    """

    def __init__(self, run: Run, *, download: bool = True) -> None:
        self.run = run
        self.config = run.config
        self._download = download
        self._contents: dict[QuestionSource, str] = {}

    @cached_property
    def model_path(self) -> Path | None:
        """Folder of the policy; None if it is on the hub only and must not be downloaded."""
        return resolve_model(self.config.model, download=self._download)

    @cached_property
    def model(self) -> str | None:
        """Fingerprint of the policy at its start."""
        return None if self.model_path is None else fingerprint(self.model_path)

    def _content(self, source: QuestionSource) -> str:
        """Digest of a question source: a whole file is read for it, or the hub asked."""
        if source not in self._contents:
            self._contents[source] = content_digest(source)
        return self._contents[source]

    def _node(self, name: str, recipe: Recipe | None) -> Node:
        if recipe is None:
            return Node(name, None, None)
        if recipe.stage in self.run.record.refresh:
            self.run.ask_anew(recipe)
        return Node(name, recipe, self.run.store.find(recipe, at_least=self.run.target(recipe)))

    # --- questions -----------------------------------------------------------------------------------------

    def evaluation_questions(self, dataset: HeldOutSet | EvaluationSet) -> Node:
        recipe = questions.recipe(self.whole(dataset), content=self._content(dataset.questions))
        return self._node(f"questions/{dataset.name}", recipe)

    def whole(self, dataset: HeldOutSet | EvaluationSet) -> questions.Reading:
        """How a held-out set is read: as it is, but for questions that its own prompt shows."""
        measured = isinstance(dataset, EvaluationSet)
        shown = (dataset.prompt or self.config.prompt) if measured else PromptConfig()
        return questions.Reading(dataset.questions, shown)

    def reading(self) -> questions.Reading | None:
        """How the questions to learn from are read; None while a held-out set is missing."""
        config = self.config
        nodes = {d.name: self.evaluation_questions(d).artifact for d in config.held_out}
        found = {name: artifact for name, artifact in nodes.items() if artifact is not None}
        if len(found) < len(nodes):
            return None
        return questions.Reading(config.questions, config.prompt, config.decontamination, found)

    def questions(self) -> Node:
        recipe = None
        if (reading := self.reading()) is not None:
            recipe = questions.recipe(reading, content=self._content(reading.source))
        return self._node("questions", recipe)

    # --- the four stages of the method ---------------------------------------------------------------------

    def rollout(self) -> Node:
        recipe = None
        if self.model is not None:
            if rollout.has_responses(self.config):
                if (reading := self.reading()) is not None:
                    recipe = rollout.import_recipe(
                        self.config, reading, content=self._content(reading.source), model=self.model
                    )
            elif asked := self.questions().artifact:
                recipe = rollout.recipe(self.config, questions_digest=asked.digest, model=self.model)
        return self._node("rollout", recipe)

    def filter(self) -> Node:
        source = self.rollout().artifact
        return self._node("filter", filtering.recipe(self.config.filter, rollout=source) if source else None)

    def rectify(self) -> Node:
        source = self.filter().artifact
        recipe = None
        if source and self.model:
            recipe = rectify.recipe(self.config, filtered=source, model=self.model, download=self._download)
        return self._node("rectify", recipe)

    def reference(self) -> Node:
        pairs = self.rectify().artifact
        recipe = None
        if pairs and self.model:
            recipe = train.reference_recipe(self.config.train, rectified=pairs, model=self.model)
        return self._node("reference", recipe)

    def train(self) -> Node:
        pairs, reference = self.rectify().artifact, self.reference().artifact
        recipe = None
        if pairs and reference and self.model:
            recipe = train.train_recipe(
                self.config.train, rectified=pairs, reference=reference, model=self.model
            )
        return self._node("train", recipe)

    # --- before and after ----------------------------------------------------------------------------------

    def evaluation(self, dataset: EvaluationSet, when: str) -> Node:
        """``when`` is ``before`` or ``after`` training."""
        asked = self.evaluation_questions(dataset).artifact
        model = self.model if when == "before" else self._trained_fingerprint()
        recipe = None
        if asked and model:
            recipe = evaluate.recipe(self.config, dataset, questions=asked, model=model)
        return self._node(f"evaluate/{when}/{dataset.name}", recipe)

    def checkpoint(self) -> Path | None:
        """Folder of the trained policy, if it is there."""
        trained = self.train().artifact
        return None if trained is None else trained.file(train.CHECKPOINT)

    def _trained_fingerprint(self) -> str | None:
        trained = self.train().artifact
        return None if trained is None else fingerprint_of(trained.hashes(train.CHECKPOINT))

    def nothing_to_train_on(self) -> str | None:
        """Why training is skipped, once that is known; None if there are pairs or the stages before are not done."""
        if (pairs := self.rectify().artifact) is None or pairs.statistics["pairs"] > 0:
            return None
        checked = self.filter().artifact
        assert checked is not None
        if pairs.statistics["failures"] == 0:
            return (
                f"the model made no mistake that counts: none of {checked.rows} responses has a verdict of "
                f"{', '.join(self.config.filter.take)} (verdicts: {checked.statistics['verdicts']})"
            )
        status = pairs.statistics["status"]
        became = ", ".join(f"{count} {name}" for name, count in status.items())
        remedy = (
            " A larger rectify.gamma accepts the too_different ones." if "too_different" in status else ""
        )
        return (
            f"no pair was accepted: of {pairs.statistics['failures']} failures the Oracle's edits became {became}. "
            f"The reasons are in {pairs.folder}.{remedy}"
        )

    def stage(self, name: StageName) -> list[Node]:
        """The artifacts that make up a stage."""
        match name:
            case "rollout":
                return [self.rollout()]
            case "filter":
                return [self.filter()]
            case "rectify":
                return [self.rectify()]
            case "train":
                return [] if self.nothing_to_train_on() else [self.reference(), self.train()]
            case "evaluate":
                if self.nothing_to_train_on():
                    return []
                return [self.evaluation(d, when) for when in WHENS for d in self.config.evaluate.datasets]

    def complete(self, name: StageName) -> bool:
        """True if nothing of the stage is missing."""
        return all(node.artifact is not None for node in self.stage(name))

    def inputs(self) -> Iterator[Node]:
        """Question sets, held-out sets first: the run's own questions are kept apart from them."""
        for dataset in self.config.held_out:
            yield self.evaluation_questions(dataset)
        if not rollout.has_responses(self.config):
            yield self.questions()
