"""Sizes of models from their config.json, as published: what transformers adds is not in the files."""

from typing import Any

import pytest

from spot_core.config.train import LoraConfig
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry, config_from_numbers

_LLAMA = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5}
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "Llama-3.1-8B": (_LLAMA | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rope_theta": 500000.0,
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "max_position_embeddings": 131072,
        "tie_word_embeddings": False}, 8_030_261_248),
    "SmolLM2-135M": (_LLAMA | {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True},
        134_515_008),
    "Qwen2.5-7B": ({"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
        "use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 28}, 7_615_616_512),
    "Qwen3-8B": ({"model_type": "qwen3", "hidden_size": 4096, "head_dim": 128, "intermediate_size": 12288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936,
        "tie_word_embeddings": False}, 8_190_735_360),
    "Mistral-7B-v0.1": ({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000,
        "sliding_window": 4096, "tie_word_embeddings": False}, 7_241_732_096),
    "Gemma-2-2B": ({"model_type": "gemma2", "hidden_size": 2304, "head_dim": 256, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 256000,
        "sliding_window": 4096}, 2_614_341_888),
    "Gemma-3-4B": ({"model_type": "gemma3", "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106],
        "image_token_index": 262144, "mm_tokens_per_image": 256, "initializer_range": 0.02, "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "vision_config": {
        "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
        "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False}},
        4_300_079_472),
    "Phi-3.5-mini": ({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096, "rope_scaling": {"long_factor": [1.0] * 48, "short_factor": [1.0] * 48,
        "type": "longrope"}, "sliding_window": 262144, "tie_word_embeddings": False}, 3_821_079_552),
    "Phi-4-mini": ({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
        "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 200064, "partial_rotary_factor": 0.75,
        "max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "rope_scaling": {
        "long_factor": [1.0] * 48, "short_factor": [1.0] * 48, "type": "longrope"}, "tie_word_embeddings": True},
        3_836_021_760),
    "Mixtral-8x7B": ({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
        "vocab_size": 32000, "tie_word_embeddings": False}, 46_702_792_704),
    "Qwen1.5-MoE-A2.7B": ({"model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632,
        "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
        "vocab_size": 151936, "decoder_sparse_step": 1, "tie_word_embeddings": False}, 14_315_784_192),
    "Qwen3-30B-A3B": ({"model_type": "qwen3_moe", "hidden_size": 2048, "head_dim": 128, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "norm_topk_prob": True, "tie_word_embeddings": False}, 30_532_122_624),
    "DeepSeek-V3": ({"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
        "first_k_dense_replace": 3, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280, "tie_word_embeddings": False},
        671_026_419_200),
}  # fmt: skip
"""Entries of config.json that decide sizes, and the parameters that the publisher counts; of DeepSeek-V3 without the
layer for speculation."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_published_models_are_counted_within_a_percent(name: str) -> None:
    numbers, published = PUBLISHED[name]
    geometry = Geometry.of(config_from_numbers(numbers))
    assert geometry.parameters == pytest.approx(published, rel=0.01)
    assert geometry.layers == numbers.get("text_config", numbers)["num_hidden_layers"]
    assert geometry.layer_parameters * geometry.layers < 1.1 * geometry.parameters


def test_a_token_passes_the_experts_it_is_sent_to_and_no_others() -> None:
    def intermediate(name: str) -> int:
        return Geometry.of(config_from_numbers(PUBLISHED[name][0])).intermediate

    assert intermediate("Qwen3-8B") == 12288
    assert intermediate("Qwen3-30B-A3B") == 8 * 768
    assert intermediate("Mixtral-8x7B") == 2 * 14336
    assert intermediate("DeepSeek-V3") == 18432  # of its dense layers: 9 experts of 2,048 are as wide


def test_adapters_are_counted_at_the_layers_that_are_named() -> None:
    geometry = Geometry.of(config_from_numbers(PUBLISHED["Qwen3-8B"][0]))
    lora = LoraConfig(rank=16, target_modules=("q_proj", "o_proj"))
    assert geometry.adapter_parameters(lora) == 36 * 16 * 2 * (4096 + 32 * 128)
    assert geometry.adapter_parameters(LoraConfig(rank=1)) == 36 * (
        2 * 8192 + 2 * (4096 + 1024) + 3 * (4096 + 12288)
    )


def test_what_cannot_be_known_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="num_attention_heads"):
        Geometry.of(config_from_numbers({"model_type": "mamba"}))
    with pytest.raises(ConfigError, match="no model has the numbers"):
        config_from_numbers({"hidden_size": 3})
    with pytest.raises(ConfigError, match="a t5 model cannot be built for training"):
        Geometry.of(config_from_numbers({"model_type": "t5"}))
