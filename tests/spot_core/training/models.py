"""Tiny random models of real architectures, in float64 where numbers are compared."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

_SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
_SLIDING_THEN_FULL = ["sliding_attention", "full_attention"]
GEOMETRIES: dict[str, dict[str, object]] = {
    "llama": {"tie_word_embeddings": False},
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 5},
    "gemma2": {
        "sliding_window": 5,
        "query_pre_attn_scalar": 8,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": None,
    },
    "gemma3_text": {
        "sliding_window": 5,
        "query_pre_attn_scalar": 8,
        "layer_types": _SLIDING_THEN_FULL,
    },
}
UNUSUAL: dict[str, dict[str, object]] = {
    "gpt2": {},  # learned absolute positions, and its layers are no `nn.Linear`
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25},
}


def tiny_model(kind: str, dtype: torch.dtype = torch.float64, **changes: object) -> PreTrainedModel:
    """A model of ``kind`` whose weights depend on nothing but its configuration."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**_SMALL, **(GEOMETRIES | UNUSUAL).get(kind, {}), **changes})
    kernel = "eager" if kind == "gpt_oss" else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=kernel).to(dtype)
    return model.eval()
