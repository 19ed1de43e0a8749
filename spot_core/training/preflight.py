"""How much memory a training rank needs, from config.json alone: known before anything is loaded or rented."""

from dataclasses import dataclass
from typing import Any

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training.adapter_size import adapter_parameters
from spot_core.training.plan import RowBudget

GIB = 2**30
REDUCE_BUCKET_ELEMENTS = 50_000_000
"""Most gradient elements that DeepSpeed reduces at once, in a buffer of its own."""
LONG_ROW = 384
"""Tokens of a row from which on a CPU gains more by leaving out forbidden attention than it loses by many calls."""
LOGITS_PER_CHUNK = 2**24
"""Most logits (tokens × vocabulary) computed at once: 64 MiB in fp32, 110 tokens of a 152k vocabulary."""
LOGITS_KEPT = 2**26
"""Most that are kept from the forward to the backward pass; if there are more, they are computed again."""

_MASTER, _MOMENTS = 4, 8  # bytes per trained parameter: fp32 copy; first and second moment
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

    def expensive_activation_bytes(self, width: int) -> int:
        """Bytes per token of a layer's input and of its matrix products and attention."""
        return width * (3 * self.hidden + 2 * (self.query + self.key_value + self.intermediate))

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
    dense_mask: bool,
) -> MemoryEstimate:
    """Returns what one training rank needs.

    Args:
        model_config: the content of config.json.
        world_size: ranks over all nodes.
        row_tokens: the longest planned row.
        micro_batch_tokens: the largest planned forward pass, padding included.
        dense_mask: whether attention takes a mask of (tokens × tokens).

    Raises:
        ConfigError: the architecture is not known.
    """
    model = _Geometry.of(model_config)
    width = 2 if settings.precision == "bf16" else 4
    count, stage = model.parameters, settings.zero_stage
    adapters = adapter_parameters(model_config, settings.lora) if settings.lora else 0
    trained = adapters or count
    shard = trained if stage == 0 else trained // world_size
    live_layer = width * model.layer_parameters if stage == 3 else 0
    if stage == 0 and settings.precision == "fp32":
        master, gradients = 0, 4 * trained  # PyTorch's own
    else:
        master = _MASTER * shard
        gradients = 4 * (shard if stage >= 2 else trained) + 4 * min(trained, REDUCE_BUCKET_ELEMENTS)
    optimizer = master + _MOMENTS * shard

    one_layer = model.layer_activation_bytes(width)
    kept_by_layer = {
        "none": one_layer,
        "selective": model.expensive_activation_bytes(width),
        "full": width * model.hidden,
    }[settings.gradient_checkpointing]
    rows = max(1, micro_batch_tokens // row_tokens)
    mask = rows * row_tokens**2 * (1 + width) if dense_mask else 0  # True/False, and the additive one
    return MemoryEstimate(
        parameters=count,
        weights=width * (count + adapters) // (world_size if stage == 3 else 1) + live_layer,
        gradients=gradients,
        optimizer=0 if settings.cpu_offload else optimizer,
        activations=micro_batch_tokens * (model.layers * kept_by_layer + one_layer) + mask,
        logits=_logit_bytes(model, micro_batch_tokens, width, frozen=bool(adapters)),
        framework=_FRAMEWORK_BYTES,
        host_optimizer=optimizer if settings.cpu_offload else 0,
    )


def _logit_bytes(model: _Geometry, tokens: int, width: int, *, frozen: bool) -> int:
    """Logits at their peak, which is in the backward pass: what is kept, or a chunk in three forms; and W's gradient
    in fp32 and as it is passed on."""
    whole = tokens * model.vocabulary
    chunk = min(whole, max(LOGITS_PER_CHUNK, model.vocabulary)) * (width + 8)
    kept = 4 * whole if whole <= LOGITS_KEPT else 0
    gradient = 0 if frozen else (4 + (width if width < 4 else 0)) * model.vocabulary * model.hidden
    return chunk + kept + gradient


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
        dense_mask=not on_gpu and row_tokens <= LONG_ROW,
    )


def check_offload(settings: TrainConfig, *, on_gpu: bool) -> None:
    """Raises ConfigError if optimizer state shall move from the GPU of a machine that has none."""
    if settings.cpu_offload and not on_gpu:
        raise ConfigError(
            "cpu_offload = True, but training runs without a GPU: optimizer state is in host memory anyway. Set "
            "cpu_offload to false"
        )


def check_fits(estimate: MemoryEstimate, available_bytes: int, settings: TrainConfig, where: str) -> None:
    """Raises ConfigError with numbers and remedies if a rank's device (``where``) has too little memory."""
    if estimate.total <= available_bytes:
        return
    remedies = [
        (settings.zero_stage < 3, "zero_stage: 3"),
        (not settings.cpu_offload, "cpu_offload: true (with a GPU)"),
        (settings.gradient_checkpointing != "full", "gradient_checkpointing: full"),
        (settings.precision == "fp32", "precision: bf16"),
        (settings.lora is None, "lora: {rank: 16}, which trains adapters alone"),
        (True, "a smaller micro_batch_tokens, or a smaller context_length"),
        (True, "more ranks, each on a device of its own"),
    ]
    raise ConfigError(
        f"training needs {estimate}, but {where} has {available_bytes / GIB:.2f} GiB for each. Remedies: "
        + "; ".join(text for applies, text in remedies if applies)
    )
