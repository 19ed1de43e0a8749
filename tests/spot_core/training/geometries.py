"""Models like those that are published, made small: config.json as transformers 4 wrote it, and as version 5 does.

Rotary settings are no reader's defaults, and 96 positions are enough to see each of them in the logits.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spot_core.demo import STUDENT_PATH

Layout = Literal["layout of 4", "layout of 5"]
LAYOUTS: tuple[Layout, ...] = ("layout of 4", "layout of 5")
IDS = torch.randint(2, 113, (1, 96), generator=torch.Generator().manual_seed(0))

_SIZES = {
    "vocab_size": 113,  # of the demo student's tokenizer
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_QWEN3 = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_window_layers": 2,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}
_GEMMA3_TEXT = {
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "final_logit_softcapping": None,
    "head_dim": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 32,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 2500.0,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "rope_theta": 250000.0,
    "sliding_window": 16,
    "sliding_window_pattern": 2,
}
_VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "image_size": 28,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "patch_size": 14,
}
GEOMETRIES: dict[str, dict[str, Any]] = {
    "qwen3": _SIZES | _QWEN3,
    "qwen3 with yarn": _SIZES | _QWEN3 | {"rope_scaling": _YARN, "tie_word_embeddings": False},
    "qwen3 moe": _SIZES
    | _QWEN3
    | {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 48,
        "norm_topk_prob": True,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    },
    "llama3": _SIZES
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "hidden_act": "silu",
        "mlp_bias": False,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": _LLAMA3,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    },
    "gemma3": _SIZES | _GEMMA3_TEXT,
    "gemma3 with images": {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": _SIZES | _GEMMA3_TEXT,
        "vision_config": _VISION,
        "eos_token_id": 1,
        "image_token_index": 112,
        "boi_token_index": 111,
        "eoi_token_index": 110,
        "mm_tokens_per_image": 4,
        "initializer_range": 0.2,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
    },
    "phi3": _SIZES
    | {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "hidden_act": "silu",
        "original_max_position_embeddings": 64,
        "partial_rotary_factor": 0.75,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "long_factor": [1.0 + 0.5 * i for i in range(12)],
            "short_factor": [1.0 + 0.1 * i for i in range(12)],
            "type": "longrope",
        },
        "rope_theta": 50000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": False,
    },
}


def write_source(kind: str, layout: Layout, folder: Path) -> Path:
    """Writes a random model of ``kind`` with the demo student's tokenizer to ``folder``; returns it."""
    folder.mkdir(parents=True)
    config_path = folder / "config.json"
    by_hand = json.dumps(GEOMETRIES[kind])
    config_path.write_text(by_hand)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copyfile(STUDENT_PATH / name, folder / name)
    if layout == "layout of 4":
        config_path.write_text(by_hand)
    else:
        written = json.loads(config_path.read_text())
        assert "rope_theta" not in written | written.get("text_config", {})
    return folder


def train(source: Path) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """The model of ``source`` with other weights, and those weights."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model, {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
