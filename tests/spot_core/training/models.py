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
    "initializer_range": 0.3,
}
GEOMETRIES: dict[str, dict[str, object]] = {
    "qwen3": {"tie_word_embeddings": True},
    "llama": {"tie_word_embeddings": False},
    "mistral": {"sliding_window": 5},
    "gemma2": {
        "sliding_window": 5,
        "query_pre_attn_scalar": 8,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": None,
    },
}


def tiny_model(kind: str, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**_SMALL, **GEOMETRIES[kind]})
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(dtype)
