"""How the policy is trained on pairs (x, y⁻, y⁺). The defaults are the paper's recipe for Qwen3-8B."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from spot_core.config.base import Auto, Count, Section
from spot_core.errors import ConfigError

Checkpointing = Literal["none", "selective", "full"]
Objective = Literal["spot_bce", "spot_bco", "dpo", "reward_sft", "sft"]

ALL_LINEAR = "all-linear"


class LoraConfig(Section):
    """Low-rank adapters that are trained beside frozen weights.

    There is no dropout: π_θ must equal π_ref at the start, and a step may not depend on how its pairs are packed.
    """

    rank: int = Field(ge=1)
    """Rank of each adapter, e.g. 16. Setting it switches LoRA on."""
    alpha: int = Field(default=32, ge=1)
    """An adapter's output is scaled by alpha / rank."""
    target_modules: tuple[str, ...] = Field(default=(ALL_LINEAR,), min_length=1)
    """Names of the linear layers that get an adapter, e.g. `q_proj`; `all-linear`: all but the output layer."""
    save_adapter: bool = False
    """Write `adapter/` (PEFT format, fp32) beside the merged `checkpoint/`."""


class TrainConfig(Section):
    """Objective, optimizer and how the work is laid out over ranks."""

    objective: Objective = "spot_bco"
    """Loss per pair: binary cross entropy without or with the shift δ, DPO, its positive term, or plain SFT on y⁺."""
    beta: float = Field(default=0.1, gt=0)
    """β of the implicit reward r = β · Σ (log π_θ − log π_ref). Paper: 0.1; very small models need about 4."""
    delta: Literal["running_mean", "ema"] = "running_mean"
    """`spot_bco`: how δ, the estimate of ½·E[r⁺ + r⁻], is made from earlier steps."""
    ema_decay: float = Field(default=0.9, ge=0, lt=1)
    """`delta: ema`: weight of the old δ in each step's new one."""
    sft_mean: Literal["tokens", "sequences"] = "sequences"
    """`sft`: average the loss over the step's response tokens, or over its sequences."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Peak learning rate. Paper: 1e-6 for Qwen3-8B, 2e-7 for Llama-3.1-8B-Instruct."""
    epochs: int = Field(default=2, ge=1)
    """Passes over all pairs."""
    batch_size: int = Field(default=32, ge=1)
    """Pairs per optimizer step, over all ranks."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of the first and second moment."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled weight decay; vectors (norms, biases) have none."""
    warmup_ratio: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps in which the learning rate rises linearly from 0."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after the warm-up; `cosine` and `linear` end at 0."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients with a larger global norm are scaled down to it."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Number format of weights and activations; gradients are summed, and the optimizer works, in fp32."""
    context_length: int = Field(default=8192, ge=2)
    """Longest prompt and response together, in tokens; a pair with a longer one is dropped, never cut."""
    seed: int = Field(default=0, ge=0)
    """Seed of the order in which pairs are seen."""
    save_dtype: Literal["bf16", "fp32"] = "bf16"
    """Number format of the trained checkpoint."""

    lora: LoraConfig | None = None
    """Train low-rank adapters only and merge them at the end: a fraction of the memory. Unset: all weights. A fitting
    learning rate is ten to a hundred times that of all weights."""

    wandb_project: str | None = Field(default=None, min_length=1)
    """Also show metrics in this project of Weights & Biases; its key comes from WANDB_API_KEY. TensorBoard's files
    are always written."""

    nodes: int = Field(default=1, ge=1)
    """Machines that train together, each with `ranks` processes; all see the store and the model at the same path."""
    rendezvous: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.-]+:[0-9]+$")
    """With several `nodes`: host:port at which they meet, an address of the machine that runs this stage. On every
    other one run `spot join host:port`."""
    ranks: Auto | Count = "auto"
    """Training processes on each node. auto: one for each GPU, or one without any; more share the cores."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO: 1 shards the optimizer over ranks, 2 gradients too, 3 weights too; 0 (fp32 only) shards nothing,
    which takes least for one rank."""
    cpu_offload: bool = False
    """Keep optimizer state in host memory: slower, for GPUs that are too small. Needs a GPU and `zero_stage` 1 to 3."""
    gradient_checkpointing: Checkpointing = "full"
    """What the backward pass computes again: nothing, all but matrix products and attention (little work, half the
    memory), or whole layers (a third more work, least memory)."""
    rows: Literal["auto", "merged", "plain"] = "auto"
    """Merge what pairs share into one row, or give every sequence a row of its own; `auto` merges where it is right."""
    row_tokens: int | None = Field(default=None, ge=16)
    """Tokens that one packed row is filled to. Unset: 160 on CPU (attention is dense there), 8,192 on a GPU."""
    micro_batch_tokens: int | None = Field(default=None, ge=16)
    """Tokens, padding included, of one forward pass per rank. Unset: 1,024 on CPU, 8,192 on a GPU."""
    checkpoint_every_steps: int = Field(default=50, ge=0)
    """Optimizer steps between resumable checkpoints; 0 makes none."""
    keep_checkpoints: int = Field(default=1, ge=1)
    """Resumable checkpoints kept while training."""

    @property
    def world_size(self) -> int:
        """Training processes on all nodes, once `ranks` is a number."""
        assert self.ranks != "auto", "the number of ranks is resolved on the machine that trains"
        return self.nodes * self.ranks

    @field_validator("rendezvous", mode="before")
    @classmethod
    def _rendezvous_is_an_address(cls, address: Any) -> Any:
        if isinstance(address, str):
            split_address(address)
        return address

    @model_validator(mode="after")
    def _several_nodes_need_a_place_to_meet(self) -> Self:
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError(
                f"nodes = {self.nodes}, but rendezvous is not set: give host:port, an address of the machine that "
                "runs this stage and a free port there, e.g. 10.0.0.1:29500"
            )
        return self

    @model_validator(mode="after")
    def _stage_0_is_plain_pytorch(self) -> Self:
        if self.zero_stage == 0 and self.precision == "bf16":
            raise ValueError(
                "zero_stage = 0 with precision = 'bf16': DeepSpeed sums the gradients of bf16 weights in fp32 only "
                "from stage 1 on. Set zero_stage to 1, which needs no more memory, or precision to fp32"
            )
        if self.zero_stage == 0 and self.cpu_offload:
            raise ValueError(
                "zero_stage = 0 with cpu_offload = True: DeepSpeed moves optimizer state to host memory only from "
                "stage 1 on. Set zero_stage to 1, 2 or 3, or cpu_offload to false"
            )
        return self

    @model_validator(mode="after")
    def _betas_are_decay_rates(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas}: both must be at least 0 and below 1")
        return self


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of ``host:port``.

    Raises:
        ConfigError: it is something else.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 2**16):
        raise ConfigError(f"{address!r} is no address: write host:port, e.g. 10.0.0.1:29500")
    return host, int(port)


SPEED_SETTINGS = frozenset(
    {
        "nodes",
        "rendezvous",
        "ranks",
        "zero_stage",
        "cpu_offload",
        "gradient_checkpointing",
        "rows",
        "row_tokens",
        "micro_batch_tokens",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "wandb_project",
    }
)
"""Settings that change neither the trained weights nor the metrics."""


def result_settings(config: TrainConfig) -> dict[str, Any]:
    """Returns the settings that decide the trained weights and metrics, as JSON values: what a key is made of.

    Left out are the layout over ranks and memory, where metrics are watched, and what is not read: by the chosen
    objective, or because all weights are trained.
    """
    unread = set(SPEED_SETTINGS)
    if config.lora is None:
        unread |= {"lora"}
    if config.objective != "spot_bco":
        unread |= {"delta", "ema_decay"}
    elif config.delta != "ema":
        unread |= {"ema_decay"}
    if config.objective != "sft":
        unread |= {"sft_mean"}
    return config.model_dump(mode="json", exclude=unread)
