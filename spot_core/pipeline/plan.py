"""Dry run: what a configuration would do, what is there already, and what it would cost. Needs no model, no GPU."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spot_core.config.oracle import (
    ModelOracleConfig,
    OpenAIOracleConfig,
    OracleConfig,
    SingleOracleConfig,
    in_order,
    name_of,
)
from spot_core.config.questions import QuestionSource
from spot_core.config.spot import STAGES, FilterConfig, SpotConfig
from spot_core.datasets import read_questions
from spot_core.devices import list_gpus
from spot_core.errors import ConfigError, InputError
from spot_core.geometry import Geometry
from spot_core.inference.prompts import PromptRenderer
from spot_core.markdown import block, table
from spot_core.oracles.base import Failure
from spot_core.oracles.prompting import Prompt
from spot_core.pipeline import rollout
from spot_core.pipeline.machine import check_machine, describe_model
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from spot_core.training.meeting import join_command
from spot_core.training.preflight import estimate_worst_case, resolve_ranks

_CHARACTERS_PER_TOKEN = (
    4.0  # of English text under a large vocabulary; used only where the tokenizer is not at hand
)
_LIKELY_GPUS = (1, 2, 4, 8)
"""For which memory is estimated where the number of ranks is left to a machine that is not this one."""
_ASSUMED_FAILURE_SHARE = 0.5
_ASSUMED_RESPONSE_TOKENS = 1000


@dataclass
class Plan:
    """What a dry run found out. ``notes`` say what could not be known here, and what is left to a person."""

    config: SpotConfig
    stages: list[tuple[str, str, str]] = field(default_factory=list)
    """Artifact, key or ``pending``, and what would happen."""
    figures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prompt: str = ""
    oracle_prompt: str = ""
    """What the first Oracle that is a model is asked; empty if there is none."""
    memory: str = ""

    def markdown(self) -> str:
        """The plan for the Prefect UI."""
        parts = [
            f"# Dry run of profile {self.config.profile}",
            table(["artifact", "key", "what happens"], self.stages),
            table(["estimate", ""], self.figures),
            f"## Memory of training, per rank\n\n{block(self.memory)}",
            f"## First prompt\n\n{block(self.prompt)}",
        ]
        if self.oracle_prompt:
            parts.append(f"## First prompt to the Oracle\n\n{block(self.oracle_prompt)}")
        return "\n\n".join([*parts, *(f"> {note}" for note in self.notes)])

    def text(self) -> str:
        """The plan for a terminal."""
        width = max(len(name) for name, _, _ in self.stages)
        lines = [f"Dry run of profile {self.config.profile} (store: {self.config.store})", ""]
        lines += [f"  {name:<{width}}  {key:<16}  {what}" for name, key, what in self.stages]
        lines += ["", *(f"  {what}: {value}" for what, value in self.figures)]
        lines += ["", "Memory of training, per rank:", *(f"  {line}" for line in self.memory.splitlines())]
        lines += ["", "First prompt:", *(f"  | {line}" for line in self.prompt.splitlines())]
        if self.oracle_prompt:
            lines += ["", "First prompt to the Oracle:"]
            lines += [f"  | {line}" for line in self.oracle_prompt.splitlines()]
        return "\n".join([*lines, *(f"\nNote: {note}" for note in self.notes)])

    def summary(self) -> dict[str, Any]:
        """The plan for a script."""
        return {
            "profile": self.config.profile,
            "stages": self.stages,
            "estimates": self.figures,
            "notes": self.notes,
        }


def make_plan(config: SpotConfig, *, refresh: tuple[str, ...] = ()) -> Plan:
    """Resolves a configuration against the store. Nothing is downloaded, started or written.

    Raises:
        InputError: the question file or the model folder is there but cannot be used.
    """
    plan = Plan(config)
    resolver = Resolver(Run.rehearse(config, refresh=refresh), download=False)
    if resolver.model is None:
        plan.notes.append(f"{config.model.path} is not on this machine yet: prompts are shown untokenized")
    questions = _question_texts(plan)
    _list_stages(plan, resolver)
    _estimate_tokens(plan, resolver, questions)
    _estimate_memory(plan, resolver.model_path)
    _check_machine(plan, resolver.model_path)
    if config.train.nodes > 1 and config.train.rendezvous is not None:
        command = join_command(config.train.rendezvous)
        plan.notes.append(f"training takes {config.train.nodes} nodes; on each other one run: {command}")
    return plan


def _list_stages(plan: Plan, resolver: Resolver) -> None:
    """Fills the table of artifacts; all are pending if the hub has to be asked for the questions and cannot be."""
    config = plan.config
    names = [*([] if rollout.has_responses(config) else ["questions"]), *STAGES]
    try:
        nodes = [*resolver.inputs(), *(node for stage in STAGES for node in resolver.stage(stage))]
    except InputError as error:
        if not any(source.kind == "hub" for source in _sources(config)):
            raise
        plan.notes.append(f"the data sets on the hub are not at hand, so nothing can be looked up: {error}")
        plan.stages += [(name, "pending", "to do") for name in names]
        return
    for node in nodes:
        key = "pending" if node.recipe is None else node.recipe.key
        what = "to do" if node.artifact is None else f"reused, {node.artifact.rows:,} rows"
        plan.stages.append((node.name, key, what))


def _sources(config: SpotConfig) -> list[QuestionSource]:
    return [config.questions, *(held_out.questions for held_out in config.held_out)]


def _question_texts(plan: Plan) -> list[str] | None:
    """The questions, or None if they would have to be downloaded."""
    if plan.config.questions.kind == "hub":
        plan.notes.append(
            "the questions are on the hub; a dry run does not download them, so figures are per question"
        )
        return None
    return [row["question"] for row in read_questions(plan.config.questions).rows]


def _estimate_tokens(plan: Plan, resolver: Resolver, questions: list[str] | None) -> None:
    config = plan.config
    count = len(set(questions)) if questions is not None else None
    sampled = not rollout.has_responses(config)
    samples = config.rollout.samples if sampled or not count else len(questions or ()) / count
    example = questions[0] if questions else "(the question)"
    if resolver.model_path is not None:
        renderer = PromptRenderer(resolver.model_path, config.model, config.prompt)
        plan.prompt = renderer.text(example)
        prompt_tokens = len(renderer.token_ids(example))
    else:
        messages = config.prompt.messages(example)
        plan.prompt = "\n".join(f"{m['role']}: {m['content']}" for m in messages)
        prompt_tokens = round(len(plan.prompt) / _CHARACTERS_PER_TOKEN)
    plan.oracle_prompt = _oracle_prompt(config.rectify.oracle, example)
    longest = config.rollout.max_new_tokens
    assumed = min(longest, _ASSUMED_RESPONSE_TOKENS)
    plan.figures.append(("questions", "unknown" if count is None else f"{count:,}"))
    plan.figures.append(("prompt tokens of the first question", f"{prompt_tokens:,}"))
    if sampled:
        several = f", {samples} a question" if samples > 1 else ""
        total = f"at most {longest:,} a response{several}"
        likely = ""
        if count is not None:
            total += f", {count * samples * longest:,} in all"
            likely = f"; about {count * samples * assumed:,} at {assumed:,} a response"
        plan.figures.append(("rollout tokens", total + likely))
    failures = None if count is None else _failures_if_half_fail(config.filter, count, samples)
    for oracle in in_order(config.rectify.oracle):
        plan.figures.append(
            ("oracle", _oracle_cost(plan, oracle, failures, prompt_tokens + assumed, assumed))
        )
    train = config.train
    if failures is not None:
        steps = train.epochs * -(-failures // train.batch_size)
        plan.figures.append(
            (
                "training",
                f"about {steps:,} steps of {train.batch_size} pairs if half of the responses fail and become pairs",
            )
        )


def _failures_if_half_fail(kept: FilterConfig, questions: int, samples: float) -> int:
    """How many failures go to the Oracle if every response fails with a chance of one half."""
    share = _ASSUMED_FAILURE_SHARE
    failures = questions * samples * share if kept.keep == "all" else questions * (1 - (1 - share) ** samples)
    return min(round(failures), kept.max_failures or round(failures))


def _oracle_prompt(oracle: OracleConfig, question: str) -> str:
    models = [one for one in in_order(oracle) if isinstance(one, ModelOracleConfig)]
    if not models:
        return ""
    failure = Failure("", 0, question, "(the gold answer)", "(the response)", (), (), "stop")
    return Prompt.of(models[0]).render(failure)


def _oracle_cost(
    plan: Plan, oracle: SingleOracleConfig, failures: int | None, read: int, response: int
) -> str:
    """What an Oracle costs, if all failures come to it and are asked about once."""
    if not isinstance(oracle, ModelOracleConfig):
        return f"{oracle.kind}, free"
    name = name_of(oracle)
    written = oracle.expected_output_tokens or response
    read += len(Prompt.of(oracle).first.template) // round(_CHARACTERS_PER_TOKEN)
    tokens = f"{read:,} tokens read, {written:,} written"
    if not isinstance(oracle, OpenAIOracleConfig):
        return f"{name}, served by the stage itself; about {tokens} a failure"
    if (price := plan.config.rectify.price_of(oracle.model)) is None:
        return f"{name}, price not known (rectify.prices); about {tokens} a failure"
    each = oracle.samples * price.of(read, written)
    text = f"{name}, about ${each:.4f} a failure ({tokens})"
    if failures is not None:
        text += f", ${each * failures:,.2f} for {failures:,} failures if half of the responses fail"
    return text + (f", at most ${oracle.max_cost_usd:,.0f}" if oracle.max_cost_usd else ", no limit set")


def _estimate_memory(plan: Plan, model_path: Path | None) -> None:
    train, trusted = plan.config.train, plan.config.model.trust_remote_code
    try:
        described = describe_model(plan.config.model, model_path)
        model = None if described is None else Geometry.of(described, trust_remote_code=trusted)
    except (ConfigError, InputError) as error:
        plan.memory = f"unknown: {error}"
        return
    if model is None:
        plan.memory = "unknown: the model is not at hand (set model.architecture to estimate it all the same)"
        return
    gpus = list_gpus()
    # A recipe in bf16 is meant for GPUs, wherever it is planned.
    on_gpu = bool(gpus) or train.precision == "bf16"
    counts = (
        _LIKELY_GPUS if on_gpu and not gpus and train.ranks == "auto" else (resolve_ranks(train, ()).ranks,)
    )
    if gpus and train.ranks == "auto":
        counts = (len(gpus),)
    settings = [train.model_copy(update={"ranks": ranks}) for ranks in counts]
    plan.memory = "\n".join(
        f"{one.nodes * one.ranks} {'GPU' if on_gpu else 'rank'}{'s' if one.world_size > 1 else ''}: "
        f"{estimate_worst_case(model, one, on_gpu=on_gpu)}"
        for one in settings
    )


def _check_machine(plan: Plan, model_path: Path | None) -> None:
    """Notes what this machine cannot do; the run may be meant for another."""
    from spot_core.training.support import check_model  # noqa: PLC0415  (torch takes seconds)

    try:
        if model_path is not None:
            check_model(plan.config, model_path)
        plan.notes += check_machine(plan.config, STAGES, model_path=model_path)
    except (ConfigError, InputError) as error:
        plan.notes.append(str(error))
