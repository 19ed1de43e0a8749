"""Who attends to whom in a row of tries: the dense masks that Hugging Face decoders take."""

import torch
from torch import Tensor
from transformers import PretrainedConfig

from spot_core.errors import ConfigError

_FULL, _SLIDING = "full_attention", "sliding_attention"


def trie_mask(end: Tensor, depth: Tensor, window: int | None = None) -> Tensor:
    """Returns True where query q may attend to key k: k ≤ q < end[k], and depth[q] − depth[k] < ``window``.

    Args:
        end: (rows, tokens) index just past the subtree of each token; padding has ``end[k] = k + 1``.
        depth: (rows, tokens) position ids.
        window: tokens seen by a sliding-window layer, itself included.

    Returns:
        (rows, 1, tokens, tokens) bool: the 4-D mask that SDPA broadcasts over heads.
    """
    index = torch.arange(end.shape[-1], device=end.device)
    query, key = index[:, None], index[None, :]
    mask = (key <= query) & (query < end[:, None, :])
    if window is not None:
        mask &= depth[:, :, None] - depth[:, None, :] < window
    return mask[:, None]


def model_masks(config: PretrainedConfig, end: Tensor, depth: Tensor) -> Tensor | dict[str, Tensor]:
    """Returns what the model of ``config`` takes as ``attention_mask``: one mask, or one per kind of layer.

    Raises:
        ConfigError: the model has layers that a mask cannot confine to a path of the trie.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := kinds - {_FULL, _SLIDING}:
        raise ConfigError(
            f"a model with {', '.join(sorted(unknown))} layers ({config.model_type}) cannot be trained in rows "
            "merged by prefix: such layers carry state from one sequence into the next. Use a model whose layers "
            "are full or sliding-window attention"
        )
    if _SLIDING in kinds:
        return {_FULL: trie_mask(end, depth), _SLIDING: trie_mask(end, depth, window)}
    return trie_mask(end, depth, None if kinds else window)
