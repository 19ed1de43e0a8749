"""Every stage of a run as one function: looks up what is there, makes what is missing, records what was used.

These are what Prefect's tasks call, and what a notebook calls without Prefect:

    run = Run.create(SpotConfig.from_profile("demo"), "my-run")
    prepare(run); roll_out(run); check_answers(run); rectify_failures(run); train_policy(run); evaluate_models(run)
"""

import logging
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from spot_core.config.spot import STAGES, StageName
from spot_core.disk import plain_disk_errors
from spot_core.errors import ConfigError
from spot_core.inference.policy import Policy
from spot_core.inference.prompts import PromptRenderer
from spot_core.pipeline import evaluate, questions, rectify, rollout, train
from spot_core.pipeline import filter as filtering
from spot_core.pipeline.machine import check_machine
from spot_core.pipeline.oracles import Secret, no_secrets, require_usable
from spot_core.pipeline.progress import Progress, silent
from spot_core.pipeline.resolve import WHENS, Node, Resolver
from spot_core.rectification.estimate import Estimate
from spot_core.runs import Run
from spot_core.store import Artifact, ArtifactWriter
from spot_core.training.watchers import require_watchers

log = logging.getLogger(__name__)


def produce(run: Run, node: Node, make: Callable[[ArtifactWriter], None]) -> Artifact:
    """Returns the artifact of a node: the one that is there, or one made now.

    Raises:
        ConfigError: an input of it is missing.
        StorageError: the disk is full or read-only.
    """
    if node.recipe is None:
        raise ConfigError(
            f"{node.name} of run {run.name!r} cannot be made yet: the stage before it is not complete. "
            "Run that one first, or the flow spot/full, which makes whatever is missing"
        )
    with plain_disk_errors(run.store.root):
        at_least = run.target(node.recipe)
        with run.store.write(node.recipe, at_least=at_least) as slot:
            if reused := isinstance(slot, Artifact):
                log.info("%s: reusing %s/%s/%d", node.name, slot.stage, slot.key, slot.generation)
            else:
                make(slot)
        artifact = run.store.get(node.recipe, at_least=at_least)
        run.use(node.name, artifact, reused=reused)
    return artifact


def prepare(run: Run, *, elsewhere: Collection[StageName] = ()) -> list[Artifact]:
    """Reads the evaluation sets and the questions; fails on bad input before any engine starts.

    Args:
        run: the run.
        elsewhere: stages that other workers run. Whether these have the keys of an Oracle or of Weights & Biases is not
            known here: the stage itself says so.

    Raises:
        InputError: a source, the model or a file of the Oracle is missing or nothing usable is left of it.
        ConfigError: metrics cannot be shown where the configuration wants them, a prompt cannot be used, the model cannot
            be trained so, or this machine lacks the GPUs or the memory for a stage that runs here.
    """
    if "train" not in elsewhere:
        require_watchers(run.config.train)
    require_usable(run.config.rectify.oracle, keys="rectify" not in elsewhere)
    resolver = Resolver(run)
    if (
        resolver.rollout().artifact is None
    ):  # else the model has answered before, and loading a tokenizer takes seconds
        _require_model(resolver)
    made = []
    for dataset in run.config.held_out:
        node, whole = resolver.evaluation_questions(dataset), resolver.whole(dataset)
        made.append(produce(run, node, lambda writer, r=whole: questions.make(writer, r)))
    reading = resolver.reading()
    assert reading is not None
    if rollout.has_responses(run.config):
        made.append(
            produce(
                run,
                resolver.rollout(),
                lambda writer: rollout.import_responses(
                    writer, run.config, reading, model_path=_require_model(resolver)
                ),
            )
        )
    else:
        made.append(produce(run, resolver.questions(), lambda writer: questions.make(writer, reading)))
    _require_trainable(run)
    require_machine(run, [stage for stage in STAGES if stage not in elsewhere])
    return made


def require_machine(run: Run, stages: Collection[StageName]) -> None:
    """Checks that this machine can do what is not complete of some stages; logs what it may not be able to.

    Raises:
        ConfigError: it cannot: see `spot_core.pipeline.machine.check_machine`.
    """
    resolver = Resolver(run, download=False)
    missing = [stage for stage in stages if not resolver.complete(stage)]
    for warning in check_machine(run.config, missing, model_path=resolver.model_path):
        log.warning("%s", warning)


def _require_trainable(run: Run) -> None:
    """Refuses a model that cannot be trained as the settings say, wherever the training would be."""
    resolver = Resolver(run, download=False)
    if resolver.model_path is not None and not resolver.complete("train"):
        from spot_core.training.support import check_model  # noqa: PLC0415  (torch takes seconds)

        check_model(run.config, resolver.model_path)


def _require_model(resolver: Resolver) -> Path:
    path = resolver.model_path
    assert path is not None, "a resolver that may download finds a model or raises"
    # Refuses a model without chat template, and says how its turns end.
    PromptRenderer(path, resolver.config.model, resolver.config.prompt).turn_end  # noqa: B018
    return path


def roll_out(run: Run, on_progress: Progress = silent) -> Artifact:
    """Stage 1. See `spot_core.pipeline.rollout.make`."""
    resolver = Resolver(run)
    if rollout.has_responses(run.config):
        return produce(run, resolver.rollout(), _imported_by_prepare)
    asked = resolver.questions().artifact
    return produce(
        run,
        resolver.rollout(),
        lambda writer: rollout.make(
            writer, run.config, questions=asked, model_path=_require_model(resolver), on_progress=on_progress
        ),
    )


def _imported_by_prepare(writer: ArtifactWriter) -> None:
    raise ConfigError("the responses of this run are imported: run the flow spot/full, which reads them")


def check_answers(run: Run, on_progress: Progress = silent) -> Artifact:
    """Stage 2. See `spot_core.pipeline.filter.make`."""
    resolver = Resolver(run)
    source = resolver.rollout().artifact
    return produce(
        run,
        resolver.filter(),
        lambda writer: filtering.make(writer, run.config.filter, rollout=source, on_progress=on_progress),
    )


def rectify_failures(
    run: Run,
    on_progress: Progress = silent,
    *,
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
    secret: Secret = no_secrets,
) -> Artifact:
    """Stage 3. See `spot_core.pipeline.rectify.make`; what a person agreed to, `run.confirm` notes."""
    resolver = Resolver(run)
    source = resolver.filter().artifact
    artifact = produce(
        run,
        resolver.rectify(),
        lambda writer: rectify.make(
            writer,
            run.config,
            filtered=source,
            model_path=_require_model(resolver),
            store=run.store,
            on_progress=on_progress,
            on_estimate=on_estimate,
            confirmed=run.record.confirmed,
            secret=secret,
        ),
    )
    rectify.warn_of_unanswered(artifact)
    return artifact


def compute_reference(run: Run, on_progress: Progress = silent) -> Artifact:
    """First half of stage 4. See `spot_core.pipeline.train.make_reference`."""
    resolver = Resolver(run)
    if reason := resolver.nothing_to_train_on():
        raise ConfigError(f"run {run.name!r} has nothing to train on: {reason}")
    pairs = resolver.rectify().artifact
    return produce(
        run,
        resolver.reference(),
        lambda writer: train.make_reference(
            writer, run.config, rectified=pairs, model_path=_require_model(resolver), on_progress=on_progress
        ),
    )


def train_policy(run: Run, on_progress: Progress = silent) -> Artifact:
    """Second half of stage 4. See `spot_core.pipeline.train.make_train`."""
    resolver = Resolver(run)
    pairs, reference = resolver.rectify().artifact, resolver.reference().artifact
    return produce(
        run,
        resolver.train(),
        lambda writer: train.make_train(
            writer,
            run.config,
            rectified=pairs,
            reference=reference,
            model_path=_require_model(resolver),
            run_name=run.name,
            on_progress=on_progress,
        ),
    )


def evaluate_models(run: Run, on_progress: Progress = silent) -> dict[str, Artifact]:
    """Stage 5: accuracy before and after on every data set, one server per model and only if something is missing.

    Returns:
        Artifacts by ``before/<data set>`` and ``after/<data set>``.

    Raises:
        ConfigError: there is no trained model.
    """
    resolver = Resolver(run)
    trained = resolver.checkpoint()
    if trained is None:
        raise ConfigError(f"run {run.name!r} has no trained model yet: run its stage 'train' first")
    paths = {"before": _require_model(resolver), "after": trained}
    asked = {d.name: resolver.evaluation_questions(d).artifact for d in run.config.evaluate.datasets}
    sizes = {
        f"{when}/{d.name}": (asked[d.name].rows if asked[d.name] else 0) * evaluate.samples_of(run.config, d)
        for when in WHENS
        for d in run.config.evaluate.datasets
    }
    made: dict[str, Artifact] = {}
    for when in WHENS:
        path, engine = paths[when], run.config.engine
        if when == "after":  # a server that exists serves the base model
            engine = engine.model_copy(update={"base_url": None})
        with Policy(
            path,
            engine,
            log_folder=run.folder / "logs" / f"evaluate-{when}",
            trust_remote_code=run.config.model.trust_remote_code,
        ) as policy:
            for dataset in run.config.evaluate.datasets:
                before = sum(sizes[name] for name in made)

                def share(done: int, _: int, before: int = before) -> None:
                    on_progress(before + done, sum(sizes.values()))

                renderer = PromptRenderer(path, run.config.model, dataset.prompt or run.config.prompt)
                make = partial(
                    evaluate.make,
                    config=run.config,
                    dataset=dataset,
                    questions=asked[dataset.name],
                    policy=policy,
                    renderer=renderer,
                    on_progress=share,
                )
                made[f"{when}/{dataset.name}"] = produce(run, resolver.evaluation(dataset, when), make)
    return made
