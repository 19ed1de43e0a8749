"""The vLLM server that answers for the policy, and how it samples."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from spot_core.config.base import Auto, Count, Section
from spot_core.config.secrecy import Address, Options


class EngineConfig(Section):
    """A vLLM server that a stage starts and stops, or one that exists already. None of this changes a key
    except `dtype`, `max_model_len`, `batch_invariant` and `extra_args`, which decide what the model answers."""

    base_url: Address | None = None
    """Address of a running vLLM server of the base model, e.g. `http://127.0.0.1:8000/v1`, or of several, separated by
    commas, which share the questions. Unset: start one. The trained model is always evaluated on a server of its own."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the key which the server of `base_url` asks for (vLLM's
    `VLLM_API_KEY`). The key itself is never stored. Unset: it asks for none."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights while sampling."""
    max_model_len: int = Field(default=40960, ge=16)
    """Longest prompt and response together, in tokens."""
    concurrency: int = Field(default=256, ge=1)
    """Requests in flight at once, to each copy of the model."""
    request_timeout_seconds: float = Field(default=3600.0, gt=0)
    """Time limit of one request."""
    max_retries: int = Field(default=4, ge=0)
    """Further tries of a request that failed on the way; `Retry-After` is honoured."""
    startup_timeout_seconds: float = Field(default=900.0, gt=0)
    """How long the server may take to load the model."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that share one copy of the model."""
    data_parallel_size: Auto | Count = "auto"
    """Copies of the model behind one address. auto: as many as the GPUs of the machine suffice for, with
    `tensor_parallel_size` GPUs each; of a server that exists already, one."""
    batch_invariant: bool = False
    """Have each response depend on its own request alone, not on those it is computed with (vLLM's batch invariance):
    slower, and for GPUs of compute capability 9.0 or higher (Hopper and later)."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM may take."""
    cpu_kvcache_gib: int = Field(default=1, ge=1)
    """Memory for the key-value cache on a machine without a GPU, in GiB."""
    extra_args: Options = ()
    """Further arguments for vLLM's server, as on its command line."""

    @field_validator("base_url")
    @classmethod
    def _names_a_server(cls, base_url: str | None) -> str | None:
        if base_url is not None and not all(part.strip() for part in base_url.split(",")):
            raise ValueError(f"base_url = {base_url!r}: give an address, or several with commas between them")
        return base_url

    @model_validator(mode="after")
    def _a_key_is_for_a_server_that_exists(self) -> Self:
        if self.api_key_env is not None and self.base_url is None:
            raise ValueError(
                f"api_key_env = {self.api_key_env!r} without base_url: a server that is started here asks for no key"
            )
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers of `base_url`; none where one is to be started."""
        return tuple(part.strip() for part in self.base_url.split(",")) if self.base_url is not None else ()


ANSWER_SETTINGS = frozenset({"dtype", "max_model_len", "batch_invariant", "extra_args"})
"""Settings of an engine that decide what a model answers."""
SPEED_SETTINGS = frozenset(EngineConfig.model_fields) - ANSWER_SETTINGS
"""Settings of an engine that do not change what a model answers."""


def answer_settings(engine: EngineConfig) -> dict[str, Any]:
    """Returns the settings that decide what a model answers, as JSON values: what a key is made of."""
    unset = set() if engine.batch_invariant else {"batch_invariant"}  # keys from before it existed stay
    return engine.model_dump(mode="json", include=set(ANSWER_SETTINGS) - unset)


class SamplingConfig(Section):
    """How responses are sampled. Every value is sent explicitly: a model's own defaults never slip in."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    """0 is greedy. Paper: 0.7."""
    top_p: float = Field(default=0.8, gt=0, le=1)
    """Nucleus sampling. Paper: 0.8."""
    max_new_tokens: int = Field(default=32768, ge=1)
    """Longest response in tokens; longer ones count as truncated. Paper: 32,768."""
    seed: int = Field(default=0, ge=0)
    """Seed of the run; each request's seed is a hash of it, the question and the sample."""
