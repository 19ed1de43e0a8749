"""Settings of the Oracles: who rectifies a failed response."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from spot_core.config.base import Section
from spot_core.config.engine import EngineConfig
from spot_core.config.imported import ImportedOracleConfig
from spot_core.config.model import ModelConfig
from spot_core.config.secrecy import Address, RequestFields


class Price(Section):
    """What a model costs, in USD per million tokens."""

    input: float = Field(0.0, ge=0)
    """A million prompt tokens, in USD."""
    output: float = Field(0.0, ge=0)
    """A million completion tokens, reasoning included, in USD."""

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """USD for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


class CalculatorOracleConfig(Section):
    """Recomputes equations of whole numbers: corrects wrong results and what follows from them. Costs nothing."""

    kind: Literal["calculator"] = "calculator"
    """Which Oracle this is."""


class HumanOracleConfig(Section):
    """A person: failures are written to a review page, the flow is suspended, and takes the edits on resume."""

    kind: Literal["human"] = "human"
    """Which Oracle this is."""
    wait_days: float = Field(30.0, gt=0, le=365)
    """How long a suspended flow waits for the edits before it fails. What was done stays."""


class ModelOracleConfig(Section):
    """What all Oracles that are language models share."""

    temperature: float | None = Field(0.0, ge=0, le=2)
    """Sampling temperature; null: not sent, for models that refuse one."""
    max_output_tokens: int = Field(16_384, ge=1)
    """Longest reply, in tokens of the Oracle, its reasoning included."""
    expected_output_tokens: int | None = Field(None, ge=1)
    """Tokens of an average reply, its reasoning included, for the estimate; unset: as many as the response has."""
    extra_body: RequestFields = Field(default_factory=dict)
    """Further fields of the request, passed on as they are, e.g. `{"reasoning_effort": "low"}`. With
    `max_completion_tokens` among them, `max_tokens` is not sent: OpenAI's reasoning models want that, and temperature
    null."""
    with_gold_answer: bool = True
    """Show the Oracle the reference answer; otherwise it solves the problem by itself."""
    boxed: bool = True
    """Take only edits with exactly one final answer in \\boxed{}; more where the response has as many itself."""
    prompt_file: Path | None = None
    """Your own prompt: a text file with $question, $response, $start, $end and, with the gold answer, $answer. Unset:
    `spot_core/oracles/prompts/with_answer.txt` or `without_answer.txt`."""
    again_file: Path | None = None
    """What is added to the prompt when an edit was not accepted: a text file with $reasons. Unset: `again.txt` there."""
    attempts: int = Field(2, ge=1, le=10)
    """How often it is asked for one failure; from the second time on it is told why its edits were not accepted."""
    samples: int = Field(1, ge=1, le=16)
    """Edits to ask for in each attempt, each in a request of its own; the smallest accepted one is kept."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Requests in flight at once."""
    timeout_seconds: float = Field(600.0, gt=0)
    """Time limit of one request, in seconds."""

    @model_validator(mode="after")
    def _several_samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples = {self.samples} at temperature = 0 gives the same edit {self.samples} times: raise the "
                "temperature or ask for one"
            )
        return self


class OpenAIOracleConfig(ModelOracleConfig):
    """A model behind an OpenAI-compatible API (OpenAI, Gemini, OpenRouter, a vLLM server)."""

    kind: Literal["openai"] = "openai"
    """Which Oracle this is."""
    model: str = Field(min_length=1)
    """Name of the model as the endpoint knows it, e.g. `gemini-2.5-pro`."""
    base_url: Address | None = None
    """Address of the API, ending in `/v1` or the like; unset: OpenAI's own."""
    api_key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the API key. The key itself is never stored."""
    api_key_secret: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of a Prefect Secret block that holds the API key; used in place of the environment variable."""
    max_retries: int = Field(6, ge=0, le=50)
    """Retries of a request that failed on the way (429, 5xx, time limit); `Retry-After` is honoured."""
    outage_after: int = Field(20, ge=1)
    """Requests in a row that fail for good after which the stage stops and says why; what is done is kept."""
    stream: bool = False
    """Have the reply sent piece by piece, for a proxy that cuts connections without traffic."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Most requests a minute, retries included; unset: no limit."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Most tokens a minute, by an estimate made before each request; unset: no limit."""
    max_cost_usd: float | None = Field(None, gt=0)
    """Stop asking before this much is spent on one artifact, in USD; needs a price in `rectify.prices`. Counted is what
    replies say that they took; what a provider bills for requests that failed on the way is not known here."""
    max_total_tokens: int | None = Field(None, ge=1)
    """Stop asking before so many tokens, read and written, are used for one artifact."""


class VllmOracleConfig(ModelOracleConfig):
    """A stronger model that the stage serves itself with vLLM, and stops at its end."""

    kind: Literal["vllm"] = "vllm"
    """Which Oracle this is."""
    model: ModelConfig
    """The teacher: a folder, or a name on the hub."""
    engine: EngineConfig = EngineConfig()
    """How its server is started."""


class SelfOracleConfig(ModelOracleConfig):
    """The policy as its own Oracle, shown the gold answer: no stronger model is needed (the paper's appendix)."""

    kind: Literal["self"] = "self"
    """Which Oracle this is. It is served as for the rollout (`engine`)."""
    temperature: float | None = Field(0.7, ge=0, le=2)
    """Sampling temperature."""
    attempts: int = Field(4, ge=1, le=10)
    """How often it is asked for one failure; from the second time on it is told why its edits were not accepted."""


SingleOracleConfig = Annotated[
    CalculatorOracleConfig
    | OpenAIOracleConfig
    | VllmOracleConfig
    | SelfOracleConfig
    | HumanOracleConfig
    | ImportedOracleConfig,
    Field(discriminator="kind"),
]


class ChainOracleConfig(Section):
    """Several Oracles, the cheapest first: each is asked about what those before it could not rectify."""

    kind: Literal["chain"] = "chain"
    """Which Oracle this is."""
    oracles: tuple[SingleOracleConfig, ...] = Field(min_length=1)
    """The Oracles in their order, each with its own attempts and limits. A person can only be the last."""

    @model_validator(mode="after")
    def _a_person_is_asked_last(self) -> Self:
        if any(oracle.kind == "human" for oracle in self.oracles[:-1]):
            raise ValueError(
                "a human Oracle can only be the last of a chain: nothing is asked while it is waited for"
            )
        return self


OracleConfig = Annotated[
    CalculatorOracleConfig
    | OpenAIOracleConfig
    | VllmOracleConfig
    | SelfOracleConfig
    | HumanOracleConfig
    | ImportedOracleConfig
    | ChainOracleConfig,
    Field(discriminator="kind"),
]

# Settings that change speed, price or patience, but not what is asked.
_OPERATIONAL: frozenset[str] = frozenset(
    {
        "api_key_env", "api_key_secret", "stream", "concurrency", "timeout_seconds", "max_retries", "outage_after",
        "requests_per_minute", "tokens_per_minute", "max_cost_usd", "max_total_tokens", "expected_output_tokens",
        "wait_days", "prompt_file", "again_file", "path",
        "engine",
    }
)  # fmt: skip


def in_order(config: OracleConfig) -> Iterator[SingleOracleConfig]:
    """The Oracles to try, first to last: those of a chain, or the one."""
    yield from config.oracles if isinstance(config, ChainOracleConfig) else (config,)


def name_of(config: SingleOracleConfig) -> str:
    """How an Oracle is called in artifacts and reports."""
    match config:
        case OpenAIOracleConfig():
            return config.model
        case VllmOracleConfig():
            return Path(config.model.path).name
        case _:
            return config.kind


def result_settings(config: SingleOracleConfig) -> dict[str, Any]:
    """The settings that decide what an Oracle says: those that enter the key of an artifact.

    What lies in files (prompts, corrections, a teacher's weights) enters by its content, which the stage adds, with how a
    local model is served.
    """
    served = {"model"} if isinstance(config, VllmOracleConfig) else set()
    return config.model_dump(mode="json", exclude=_OPERATIONAL | served)
