"""How many parameters LoRA trains, from config.json alone. No torch here: a dry run asks."""

from typing import Any

from spot_core.config.train import ALL_LINEAR, LoraConfig


def adapter_parameters(model_config: dict[str, Any], lora: LoraConfig) -> int:
    """Returns rank · (inputs + outputs), summed over the layers of a decoder of the Llama family that get adapters."""
    config = model_config.get("text_config", model_config)
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    query, key_value = heads * head, (config.get("num_key_value_heads") or heads) * head
    widths = {
        "q_proj": hidden + query,
        "k_proj": hidden + key_value,
        "v_proj": hidden + key_value,
        "o_proj": query + hidden,
        "gate_proj": hidden + inner,
        "up_proj": hidden + inner,
        "down_proj": inner + hidden,
    }
    names = set(lora.target_modules)
    if ALL_LINEAR in names:
        names = names - {ALL_LINEAR} | set(widths)
    # A layer of another name counts as wide as the widest; whether the model has it is seen once it is loaded.
    widest = max(widths.values())
    return config["num_hidden_layers"] * lora.rank * sum(widths.get(name, widest) for name in names)
