"""How much memory a training rank needs, from config.json alone: known before anything is loaded or rented."""

from dataclasses import dataclass
from typing import Any

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training.plan import RowBudget

GIB = 2**30
REDUCE_BUCKET_ELEMENTS = 200_000_000
"""Most gradient elements that DeepSpeed reduces at once, in a buffer of its own."""
LOGITS_PER_CHUNK = 2**24
"""Most logits (tokens × vocabulary) computed at once: 64 MiB in fp32, 110 tokens of a 152k vocabulary."""
LOGITS_KEPT = 2**26
"""Most that are kept from the forward to the backward pass; if there are more, they are computed again."""

_MASTER_AND_MOMENTS = 12  # bytes per parameter: fp32 weight, first and second moment
_FRAMEWORK_BYTES = int(0.7 * GIB)  # torch, transformers, DeepSpeed; on a GPU the CUDA context


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one rank needs at its peak, on the device that it trains on."""

    parameters: int
    """Of the whole model."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    framework: int
    host_optimizer: int
    """In host memory, beside the device's, with cpu_offload."""

    @property
    def total(self) -> int:
        parts = (self.weights, self.gradients, self.optimizer, self.activations, self.logits)
        return sum(parts) + self.framework

    def __str__(self) -> str:
        names = ("weights", "gradients", "optimizer", "activations", "logits", "framework")
        parts = " + ".join(f"{name} {getattr(self, name) / GIB:.2f}" for name in names)
        host = f", and {self.host_optimizer / GIB:.2f} GiB of host memory" if self.host_optimizer else ""
        size = f"{self.parameters / 1e6:,.1f}M parameters"
        return f"{self.total / GIB:.2f} GiB per rank ({size}: {parts}){host}"


@dataclass(frozen=True)
class _Geometry:
    """Widths of a decoder of the Llama family, in elements."""

    layers: int
    hidden: int
    intermediate: int
    query: int
    key_value: int
    head: int
    vocabulary: int
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> "_Geometry":
        config = config.get("text_config", config)
        kind = config.get("model_type", "")
        try:
            hidden, heads = config["hidden_size"], config["num_attention_heads"]
            head = config.get("head_dim") or hidden // heads
            bias = bool(config.get("attention_bias"))
            return cls(
                layers=config["num_hidden_layers"],
                hidden=hidden,
                intermediate=config["intermediate_size"],
                query=heads * head,
                key_value=(config.get("num_key_value_heads") or heads) * head,
                head=head,
                vocabulary=config["vocab_size"],
                tied=bool(config.get("tie_word_embeddings")),
                qkv_bias=bias or kind == "qwen2",
                output_bias=bias,
                mlp_bias=bool(config.get("mlp_bias")),
                qk_norm=kind in ("qwen3", "gemma3", "gemma3_text"),
            )
        except KeyError as error:
            raise ConfigError(
                f"config.json of a {kind or 'nameless'} model has no {error.args[0]}: memory cannot be estimated "
                "for this architecture"
            ) from error

    @property
    def layer_parameters(self) -> int:
        attention = 2 * self.hidden * (self.query + self.key_value)
        attention += (self.query + 2 * self.key_value) * self.qkv_bias + self.hidden * self.output_bias
        mlp = 3 * self.hidden * self.intermediate
        mlp += (2 * self.intermediate + self.hidden) * self.mlp_bias
        return attention + mlp + 2 * self.hidden + 2 * self.head * self.qk_norm

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    def layer_activation_bytes(self, width: int) -> int:
        """Bytes per token that one layer keeps for its backward pass; ``width`` bytes an activation.

        Two norms (input and output, and two fp32 copies each), q, k, v before and after the rotation,
        the repeated k and v, the attention's output, the four products of the gated MLP, two residuals.
        """
        norms = 2 * (2 * width + 8) * self.hidden
        attention = width * (2 * (self.query + 2 * self.key_value) + 3 * self.query)
        return norms + attention + width * (4 * self.intermediate + 2 * self.hidden)


def parameter_count(model_config: dict[str, Any]) -> int:
    """Parameters of a dense decoder of the Llama family, tied embeddings counted once.

    Raises:
        ConfigError: config.json lacks a width.
    """
    return _Geometry.of(model_config).parameters


def estimate_memory(
    model_config: dict[str, Any],
    settings: TrainConfig,
    *,
    world_size: int,
    row_tokens: int,
    micro_batch_tokens: int,
) -> MemoryEstimate:
    """Returns what one training rank needs.

    Args:
        model_config: the content of config.json.
        world_size: ranks over all nodes.
        row_tokens: the longest planned row.
        micro_batch_tokens: the largest planned forward pass, padding included.

    Raises:
        ConfigError: the architecture is not known.
    """
    model = _Geometry.of(model_config)
    width = 2 if settings.precision == "bf16" else 4
    count, stage = model.parameters, settings.zero_stage
    optimizer = _MASTER_AND_MOMENTS * count // world_size
    gradient_shard = 4 * (count if stage == 1 else count // world_size)
    bucket = 4 * min(count, REDUCE_BUCKET_ELEMENTS)
    live_layer = width * model.layer_parameters if stage == 3 else 0

    one_layer = model.layer_activation_bytes(width)
    kept = model.layers * width * model.hidden + one_layer
    per_token = kept if settings.gradient_checkpointing else model.layers * one_layer
    rows = max(1, micro_batch_tokens // row_tokens)
    mask = rows * row_tokens**2 * (1 + width)  # True/False, and the additive copy that attention makes of it

    tokens_per_chunk = min(micro_batch_tokens, max(1, LOGITS_PER_CHUNK // model.vocabulary))
    # logits, their fp32 copy, log-softmax and both gradients; and the gradient of the output embedding
    logits = tokens_per_chunk * model.vocabulary * (2 * width + 12) + width * model.vocabulary * model.hidden
    return MemoryEstimate(
        parameters=count,
        weights=width * count // (world_size if stage == 3 else 1) + live_layer,
        gradients=gradient_shard + bucket,
        optimizer=0 if settings.cpu_offload else optimizer,
        activations=micro_batch_tokens * per_token + mask,
        logits=logits,
        framework=_FRAMEWORK_BYTES,
        host_optimizer=optimizer if settings.cpu_offload else 0,
    )


def estimate_worst_case(
    model_config: dict[str, Any], settings: TrainConfig, *, world_size: int, on_gpu: bool
) -> MemoryEstimate:
    """The same before there are pairs: as if one filled the context twice without a shared token."""
    budget = RowBudget.of(settings, on_gpu=on_gpu)
    row_tokens = max(budget.row_tokens, 2 * settings.context_length)
    return estimate_memory(
        model_config,
        settings,
        world_size=world_size,
        row_tokens=row_tokens,
        micro_batch_tokens=max(budget.micro_batch_tokens, row_tokens),
    )


def check_fits(estimate: MemoryEstimate, available_bytes: int, settings: TrainConfig, where: str) -> None:
    """Raises ConfigError with numbers and remedies if a rank's device (``where``) has too little memory."""
    if estimate.total <= available_bytes:
        return
    remedies = [
        (settings.zero_stage < 3, "zero_stage: 3"),
        (not settings.cpu_offload, "cpu_offload: true (with a GPU)"),
        (not settings.gradient_checkpointing, "gradient_checkpointing: true"),
        (settings.precision == "fp32", "precision: bf16"),
        (True, "a smaller micro_batch_tokens, or a smaller context_length"),
        (True, "more ranks, each on a device of its own"),
    ]
    raise ConfigError(
        f"training needs {estimate}, but {where} has {available_bytes / GIB:.2f} GiB for each. Remedies: "
        + "; ".join(text for applies, text in remedies if applies)
    )
