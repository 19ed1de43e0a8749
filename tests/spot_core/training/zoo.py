"""Tiny random models of many families, as folders like those that are published."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

VOCABULARY = 61
BOUNDARY = 24
"""Tokens over which the models with changing rotary frequencies change them."""

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2],
    "long_factor": [1.0, 3.0, 9.0],
    "original_max_position_embeddings": BOUNDARY,
}
_VISION = {
    "hidden_size": 32,
    "image_size": 28,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "patch_size": 14,
}
Write = Callable[[Path, "Family"], None]


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        kind: its `model_type`.
        numbers: entries of its config.json beside the usual sizes.
        without: usual sizes that it does not have.
        lora: linear layers to adapt; empty: `all-linear`.
        refused: what the refusal says, where it cannot be trained: as a whole, or with adapters at all linear layers.
        write: how the folder is written.
    """

    kind: str
    numbers: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    lora: tuple[str, ...] = ()
    refused: str = ""
    refused_with_all_linear: str = ""
    write: Write | None = None

    def config(self) -> PretrainedConfig:
        sizes = {name: value for name, value in _SIZES.items() if name not in self.without}
        return AutoConfig.for_model(self.kind, **sizes | self.numbers)


def write_family(name: str, folder: Path) -> Path:
    """Writes a random model of the family to ``folder``; returns it."""
    family = ZOO[name]
    folder.mkdir(parents=True)
    (family.write or write_plain)(folder, family)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def random_model(config: PretrainedConfig) -> PreTrainedModel:
    """A model whose weights, buffers and vectors are all random: what is lost on the way is seen."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim < 2:
                tensor.add_(0.05 * torch.randn(tensor.shape)) if "scalar" not in name else tensor.fill_(0.7)
    return model


def write_plain(folder: Path, family: Family) -> None:
    random_model(family.config()).save_pretrained(folder)


def _write_sharded(folder: Path, family: Family) -> None:
    random_model(family.config()).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


def _write_pickled(folder: Path, family: Family) -> None:
    model = random_model(family.config())
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def _write_sparse(folder: Path, family: Family) -> None:
    """config.json as some are published: what is the default of transformers is not in it."""
    config = family.config()
    random_model(config).save_pretrained(folder)
    config.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    text = written.get("text_config", written)
    for name in ("vocab_size", "rms_norm_eps", "tie_word_embeddings", "attention_bias", "layer_types"):
        text.pop(name, None)
    (folder / "config.json").write_text(json.dumps(written))


def _write_with_layers_for_speculation(folder: Path, family: Family) -> None:
    """With a layer behind the last one, which transformers leaves out."""
    random_model(family.config()).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.61.eh_proj.weight"] = torch.randn(4, 4)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


_CODE = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM

class OddConfig(LlamaConfig):
    model_type = "odd"

class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig

    @classmethod
    def can_generate(cls):
        return False
"""


def _write_code(folder: Path, family: Family) -> None:
    """A model that brings its own code, cannot generate by itself, and has files of a processor."""
    random_model(family.config()).save_pretrained(folder)
    (folder / "odd.py").write_text(_CODE)
    (folder / "processor_config.json").write_text("{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "odd.OddConfig", "AutoModelForCausalLM": "odd.OddForCausalLM"}
    config |= {"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))


def _moe(kind: str, **numbers: Any) -> Family:
    return Family(
        kind, _EXPERTS | numbers, lora=("q_proj", "v_proj"), refused_with_all_linear="one tensor a layer"
    )


_NO_HEAD_DIM = ("head_dim",)
ZOO: dict[str, Family] = {
    "llama": Family("llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}),
    "llama, tied": Family("llama", {"tie_word_embeddings": True}),
    "llama, dynamic": Family("llama", {"max_position_embeddings": BOUNDARY,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}}, refused="rope_type dynamic"),
    "llama, sharded": Family("llama", write=_write_sharded),
    "llama, pickled": Family("llama", write=_write_pickled),
    "own code": Family("llama", write=_write_code),
    "qwen2": Family("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen3": Family("qwen3", {"tie_word_embeddings": True}),
    "mistral": Family("mistral", {"sliding_window": 5}),
    "ministral": Family("ministral", {"sliding_window": 5}),
    "gemma": Family("gemma"),
    "gemma2": Family("gemma2", {"sliding_window": 5, "query_pre_attn_scalar": 8}),
    "gemma3, text": Family("gemma3_text", {"sliding_window": 5, "query_pre_attn_scalar": 8}),
    "gemma3, sparse": Family("gemma3", {"text_config": {**_SIZES, "vocab_size": 262208, "query_pre_attn_scalar": 8,
        "sliding_window": 5}, "vision_config": _VISION, "mm_tokens_per_image": 4}, without=tuple(_SIZES),
        write=_write_sparse),
    "gemma4, text": Family("gemma4_text", {"sliding_window": 5, "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0}),
    "phi": Family("phi", {"partial_rotary_factor": 0.5, "attention_dropout": 0.1, "resid_pdrop": 0.1}, without=_NO_HEAD_DIM),
    "phi3, longrope": Family("phi3", {"rope_parameters": _LONGROPE | {"partial_rotary_factor": 0.75},
        "original_max_position_embeddings": BOUNDARY, "resid_pdrop": 0.1}),
    "granite": Family("granite", {"logits_scaling": 8.0, "embedding_multiplier": 2.0, "attention_dropout": 0.1}),
    "cohere": Family("cohere", {"logit_scale": 0.25}, without=_NO_HEAD_DIM),
    "cohere2": Family("cohere2", {"logit_scale": 0.25, "sliding_window": 5}),
    "olmo2": Family("olmo2", without=_NO_HEAD_DIM),
    "olmo3": Family("olmo3", {"sliding_window": 5}, without=_NO_HEAD_DIM),
    "starcoder2": Family("starcoder2", {"residual_dropout": 0.1, "embedding_dropout": 0.1, "attention_dropout": 0.1},
        without=_NO_HEAD_DIM),
    "seed_oss": Family("seed_oss", {"residual_dropout": 0.1, "attention_dropout": 0.1}),
    "falcon": Family("falcon", {"hidden_dropout": 0.1, "attention_dropout": 0.1, "new_decoder_architecture": True,
        "num_kv_heads": 2, "alibi": False}, without=_NO_HEAD_DIM),
    "gpt_neox": Family("gpt_neox", {"rotary_pct": 0.25, "hidden_dropout": 0.1}, without=_NO_HEAD_DIM),
    "gpt2": Family("gpt2", {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}, without=_NO_HEAD_DIM,
        refused_with_all_linear="linear"),
    "stablelm": Family("stablelm", {"partial_rotary_factor": 0.5}, without=_NO_HEAD_DIM),
    "glm4": Family("glm4", {"partial_rotary_factor": 0.5}),
    "nemotron": Family("nemotron", {"partial_rotary_factor": 0.5}),
    "exaone4": Family("exaone4", {"sliding_window": 5, "sliding_window_pattern": 2}, without=_NO_HEAD_DIM),
    "smollm3": Family("smollm3", without=_NO_HEAD_DIM),
    "apertus": Family("apertus", without=_NO_HEAD_DIM),
    "ernie4_5": Family("ernie4_5"),
    "hunyuan": Family("hunyuan_v1_dense", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 100.0,
        "factor": 1.0}}),
    "mixtral": Family("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "router_jitter_noise": 0.1},
        lora=("q_proj", "v_proj"), refused_with_all_linear="one tensor a layer"),
    "qwen2_moe": _moe("qwen2_moe", num_experts=4, shared_expert_intermediate_size=16, decoder_sparse_step=1),
    "qwen3_moe": _moe("qwen3_moe", num_experts=4, decoder_sparse_step=1),
    "gpt_oss": _moe("gpt_oss", num_local_experts=4, sliding_window=5),
    "deepseek_v3": Family("deepseek_v3", {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
        "moe_intermediate_size": 24, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 8,
        "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8, "num_key_value_heads": 4},
        without=_NO_HEAD_DIM, lora=("o_proj",), refused_with_all_linear="one tensor a layer",
        write=_write_with_layers_for_speculation),
    "hunyuan_v1_moe": _moe("hunyuan_v1_moe", num_experts=4, moe_topk=2, num_hidden_layers=4),  # routers stay in fp32
    "glm4_moe": _moe("glm4_moe", n_routed_experts=4, n_shared_experts=1, n_group=1, topk_group=1, first_k_dense_replace=1,
        partial_rotary_factor=0.5),
    "mamba2": Family("mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8},
        without=("num_attention_heads", "num_key_value_heads", "intermediate_size", "max_position_embeddings"),
        refused="num_attention_heads"),
    "lfm2": Family("lfm2", {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_auto_adjust_ff_dim": False},
        without=_NO_HEAD_DIM),
    "qwen3_next": _moe("qwen3_next", num_experts=4, shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "full_attention"], linear_num_value_heads=4, linear_num_key_heads=2,
        linear_key_head_dim=8, linear_value_head_dim=8),
}  # fmt: skip
"""By name."""


def plain_logprobs(folder: Path, sequences: list[list[int]], prompts: list[int]) -> list[float]:
    """log π of what follows the prompt of each sequence, each alone, by transformers' own logits in float32."""
    options: dict[str, Any] = {
        "dtype": torch.float32,
        "attn_implementation": "eager",
        "trust_remote_code": True,
    }
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    found = []
    with torch.no_grad():
        for ids, prompt in zip(sequences, prompts, strict=True):
            tokens = torch.tensor([ids])
            logits = model(input_ids=tokens, use_cache=False).logits[0, :-1].double().log_softmax(-1)
            by_token = logits.gather(-1, tokens[0, 1:, None])[:, 0]
            found.append(by_token[prompt - 1 :].sum().item())
    return found
