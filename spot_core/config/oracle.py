"""Settings of the Oracles: who rectifies a failed response."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from spot_core.config.base import Section

# Settings of an OpenAI-compatible Oracle that change speed, price or patience, but not what is asked.
_OPERATIONAL = frozenset(
    {
        "api_key_env",
        "concurrency",
        "timeout_seconds",
        "max_retries",
        "input_usd_per_million",
        "output_usd_per_million",
        "max_cost_usd",
    }
)


class CalculatorOracleConfig(Section):
    """Recomputes written arithmetic exactly: the first wrong step and all that follows from it. Costs nothing."""

    kind: Literal["calculator"] = "calculator"
    """Which Oracle this is."""


class OpenAIOracleConfig(Section):
    """A model behind an OpenAI-compatible API (OpenAI, Gemini, OpenRouter, a vLLM server)."""

    kind: Literal["openai"] = "openai"
    """Which Oracle this is."""

    model: str = Field(min_length=1)
    """Name of the model as the endpoint knows it, e.g. `gemini-2.5-pro`."""

    base_url: str | None = None
    """Address of the API, ending in `/v1` or the like; none: OpenAI's own."""

    api_key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the API key. The key itself is never stored."""

    temperature: float = Field(0.0, ge=0, le=2)
    """Sampling temperature."""

    max_output_tokens: int = Field(16_384, ge=1)
    """Longest reply, in tokens of the Oracle, its reasoning included."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, passed on as they are, e.g. `{"reasoning_effort": "low"}`."""

    with_gold_answer: bool = True
    """Show the Oracle the reference answer; otherwise it solves the problem by itself."""

    attempts: int = Field(2, ge=1, le=10)
    """How often it is asked for one failure; from the second time on it is told why the edit was refused."""

    concurrency: int = Field(64, ge=1, le=4096)
    """Requests in flight at once."""

    timeout_seconds: float = Field(600.0, gt=0)
    """Time limit of one request, in seconds."""

    max_retries: int = Field(6, ge=0, le=50)
    """Retries of a request that failed in transport (429, 5xx, time limit)."""

    input_usd_per_million: float = Field(0.0, ge=0)
    """Price of a million prompt tokens, in USD."""

    output_usd_per_million: float = Field(0.0, ge=0)
    """Price of a million completion tokens, reasoning included, in USD."""

    max_cost_usd: float | None = Field(None, gt=0)
    """Stop asking before this much is spent, in USD; needs the prices. None: no limit."""

    @model_validator(mode="after")
    def _budget_needs_prices(self) -> Self:
        if self.max_cost_usd is not None and not (self.input_usd_per_million or self.output_usd_per_million):
            raise ValueError(
                f"max_cost_usd = {self.max_cost_usd} can never be reached while both prices are 0: "
                "set input_usd_per_million and output_usd_per_million"
            )
        return self


OracleConfig = Annotated[CalculatorOracleConfig | OpenAIOracleConfig, Field(discriminator="kind")]


def result_settings(config: CalculatorOracleConfig | OpenAIOracleConfig) -> dict[str, Any]:
    """The settings that decide what the Oracle says: those that enter the key of an artifact."""
    return config.model_dump(mode="json", exclude=set(_OPERATIONAL))
