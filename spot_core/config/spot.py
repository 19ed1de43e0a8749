"""The whole configuration of a run: one tree of sections."""

import re
from collections import Counter
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from spot_core.config import engine, train
from spot_core.config.base import Section, overrides_of
from spot_core.config.checker import CheckerConfig, VerdictName
from spot_core.config.decontamination import DecontaminationConfig, HeldOutSet
from spot_core.config.dispatch import DispatchConfig
from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.config.flags import QualityFlag
from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.config.oracle import OracleConfig, Price, in_order
from spot_core.config.profiles import load_profile, merge
from spot_core.config.questions import QuestionSource
from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError

StageName = Literal["rollout", "filter", "rectify", "train", "evaluate"]
STAGES: tuple[StageName, ...] = ("rollout", "filter", "rectify", "train", "evaluate")


class FilterConfig(CheckerConfig):
    """How answers are checked, and which verdicts go on to the Oracle."""

    take: tuple[VerdictName, ...] = ("incorrect",)
    """Verdicts that count as failures to rectify."""
    keep: Literal["all", "first", "shortest", "nearest_boundary"] = "first"
    """Which failures of a question go to the Oracle, where it has several (`rollout.samples`, or imported responses).
    all: every one. first: the one sampled first. shortest: the one with the fewest tokens. nearest_boundary: the
    shortest, and with `max_failures` the questions that the policy solves about half of the time come first."""
    max_failures: int | None = Field(default=None, ge=1)
    """At most so many failures go to the Oracle, e.g. to keep to a budget; unset: all that `keep` takes. Which ones: by
    `keep: nearest_boundary` those of the questions with a pass rate nearest to 1/2, else a fixed random choice of
    questions."""


class RolloutConfig(SamplingConfig):
    """How responses to learn from are sampled."""

    samples: int = Field(default=1, ge=1, le=64)
    """Responses per question. More than one shows how often the policy solves a question (pass rate, pass@k) and finds
    failures of questions that it solves at times; which of them go to the Oracle is said by `filter.keep`. Paper: 1."""

    @model_validator(mode="after")
    def _several_samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples = {self.samples} at temperature = 0 gives the same response {self.samples} times: raise "
                "the temperature or sample once"
            )
        return self


class RectifyConfig(Section):
    """The Oracle that edits failures, and which edits are small enough."""

    oracle: OracleConfig
    """Who makes the minimal edit."""
    gamma: float = Field(default=0.6, gt=0, le=1)
    """Largest change ratio R of a pair that is kept. Paper: 0.6."""
    exclude_flags: tuple[QualityFlag, ...] = ()
    """Edits with one of these flags are not accepted, and asked for again. answer_only: the final value changed, the
    reasoning still ends in the old one. edit_after_answer: something was added after the final answer. length_drift: much
    shorter or longer than the response. meta_talk: it speaks of the repair."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """Prices of models by their name (`rectify.oracle.model`), in USD per million tokens, for estimates and limits."""
    confirm_above_usd: float | None = Field(default=None, ge=0)
    """If the estimate of what the Oracle will cost is higher, in USD, a person has to confirm it first: the flow is
    suspended until it is resumed. Unset: never."""
    when_budget_ends: Literal["go_on", "stop"] = "go_on"
    """What follows when a limit of the Oracle left failures unasked. go_on: train with the pairs there are. stop: the
    stage fails; with a higher limit it goes on where it stopped."""

    @model_validator(mode="after")
    def _limits_need_prices(self) -> Self:
        for oracle in in_order(self.oracle):
            if oracle.kind != "openai" or self.price_of(oracle.model) is not None:
                continue
            wanting = "max_cost_usd" if oracle.max_cost_usd is not None else None
            wanting = "confirm_above_usd" if self.confirm_above_usd is not None else wanting
            if wanting is not None:
                raise ValueError(
                    f"{wanting} needs the price of {oracle.model}: set prices: "
                    f"{{{oracle.model}: {{input: …, output: …}}}}, in USD per million tokens"
                )
        return self

    def price_of(self, model: str) -> Price | None:
        """The price of a model, if it is in the table."""
        return self.prices.get(model)


class EvaluationSet(Section):
    """One data set on which the policy is measured before and after."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name in reports and artifacts."""
    role: Literal["in_domain", "out_of_domain", "retention"] = "in_domain"
    """What the set says: the trained skill, a neighbouring one, or what the model knew before."""
    questions: QuestionSource
    """Where its questions come from."""
    checker: CheckerConfig = CheckerConfig()
    """How its answers are checked."""
    prompt: PromptConfig | None = None
    """Prompt for this set; unset: the run's own."""
    samples: int | None = Field(default=None, ge=1, le=64)
    """Responses per question of this set (avg@k); unset: as for all sets."""


class EvaluateConfig(SamplingConfig):
    """Accuracy before and after training."""

    samples: int = Field(default=1, ge=1, le=64)
    """Responses per question; accuracy is their mean (avg@k)."""
    datasets: tuple[EvaluationSet, ...] = ()
    """What to measure on. Empty: the stage is skipped."""

    @field_validator("datasets")
    @classmethod
    def _names_are_unique(cls, datasets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        doubled = sorted(name for name, count in Counter(d.name for d in datasets).items() if count > 1)
        if doubled:
            raise ValueError(f"two data sets are called {', '.join(doubled)}: give each its own name")
        return datasets


class SpotConfig(Section):
    """Everything a run of the flow `spot` needs to know. Make one with `SpotConfig.from_profile`."""

    profile: str = "demo"
    """Profile that this configuration started from."""
    store: str = "artifacts"
    """The artifact store: a folder, or `s3://bucket/folder`; address and credentials are read from `AWS_…` variables."""
    model: ModelConfig
    questions: QuestionSource
    """The questions to learn from, or responses that exist already."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    rollout: RolloutConfig = RolloutConfig()
    filter: FilterConfig = FilterConfig()
    rectify: RectifyConfig
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    dispatch: DispatchConfig = DispatchConfig()

    @classmethod
    def from_profile(cls, profile: str = "demo", **overrides: Any) -> Self:
        """Returns a profile's configuration with some values replaced, e.g. ``train={"objective": "dpo"}``.

        Raises:
            ConfigError: there is no such profile.
            pydantic.ValidationError: a key or value is not allowed; the message names the field.
        """
        return cls.model_validate({**merge(load_profile(profile), overrides), "profile": profile})

    def identity(self) -> dict[str, Any]:
        """What makes it this run and no other: all but where and how fast it is run."""
        return self.model_dump(
            mode="json",
            exclude={
                "dispatch": True,
                "engine": engine.SPEED_SETTINGS,
                "train": train.SPEED_SETTINGS,
            },
        )

    @property
    def held_out(self) -> tuple[EvaluationSet | HeldOutSet, ...]:
        """Every set whose questions the policy shall not learn from."""
        return (*self.evaluate.datasets, *self.decontamination.sets)

    @model_validator(mode="after")
    def _held_out_sets_have_names_of_their_own(self) -> Self:
        doubled = sorted(name for name, count in Counter(s.name for s in self.held_out).items() if count > 1)
        if doubled:
            raise ValueError(
                f"two sets among evaluate.datasets and decontamination.sets are called {', '.join(doubled)}: give "
                "each its own name"
            )
        return self

    @model_validator(mode="after")
    def _responses_fit_the_context(self) -> Self:
        for name in ("rollout", "evaluate"):
            new = getattr(self, name).max_new_tokens
            if new >= self.engine.max_model_len:
                raise ValueError(
                    f"{name}.max_new_tokens = {new} leaves no room for the prompt within "
                    f"engine.max_model_len = {self.engine.max_model_len}: lower the one or raise the other"
                )
        return self


SpotOverrides = overrides_of(SpotConfig, without=("profile",))
"""The same tree with every field optional: what the flow `spot` takes on top of a profile."""

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def valid_run_name(name: str) -> str:
    """Returns ``name`` if it can name a run: it becomes a folder of the store.

    Raises:
        ConfigError: it has a character that has no place there, is empty or is too long.
    """
    if not _RUN_NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"run_name = {name!r}: use 1–100 letters, digits, '-', '_' and '.', the first a letter or digit"
        )
    return name
