"""The widths of a model from its config.json alone: what memory is estimated from before anything is loaded."""

from dataclasses import dataclass
from typing import Any

from spot_core.errors import ConfigError

GIB = 2**30


@dataclass(frozen=True)
class Geometry:
    """Widths of a decoder of the Llama family, in elements."""

    layers: int
    windows: tuple[int | None, ...]
    """Of each layer: tokens that its attention reaches back; None: all of them."""
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
    def of(cls, config: dict[str, Any]) -> "Geometry":
        """Reads the content of a config.json.

        Raises:
            ConfigError: it lacks a width.
        """
        config = config.get("text_config", config)
        kind = config.get("model_type", "")
        try:
            hidden, heads = config["hidden_size"], config["num_attention_heads"]
            head = config.get("head_dim") or hidden // heads
            bias = bool(config.get("attention_bias"))
            return cls(
                layers=config["num_hidden_layers"],
                windows=_windows_of(config),
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

    def cache_bytes(self, tokens: int, width: int) -> int:
        """Bytes of the keys and values of one sequence of so many tokens; ``width`` bytes each."""
        kept = sum(tokens if window is None else min(tokens, window) for window in self.windows)
        return 2 * self.key_value * width * kept


def _windows_of(config: dict[str, Any]) -> tuple[int | None, ...]:
    layers, window = config["num_hidden_layers"], config.get("sliding_window")
    kinds = config.get("layer_types")
    if kinds is None:  # Qwen's configurations name a window that is switched off
        used = window if config.get("use_sliding_window", True) else None
        return (used,) * layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
