"""Who attends to whom in rows of token tries, in the form that each attention kernel takes.

With ``end[k]`` the index just past the subtree of token k, query q may attend to key k exactly if
k ≤ q < end[k]; in a sliding-window layer also depth[q] − depth[k] < window. Padding has ``end[k] = k + 1``.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import PretrainedConfig

from spot_core.geometry import layer_heads, layer_windows
from spot_core.training import flex, segments
from spot_core.training.preflight import LONG_ROW

_FULL, _SLIDING = "full_attention", "sliding_attention"
_KNOWN_LAYERS = {_FULL, _SLIDING}
_WITH_SINKS = ("gpt_oss",)
Mask = Tensor | BlockMask


def attention_kernel(config: PretrainedConfig, *, with_flex: bool, merged: bool, row_tokens: int) -> str:
    """Returns the ``attn_implementation`` of transformers that is right, and fastest, for such rows here.

    Args:
        with_flex: whether FlexAttention can compute them: see `wants_flex` and `flex.why_not_flex`.
        row_tokens: of the longest row.
    """
    text = config.get_text_config()
    scores_are_changed = _changes_scores(text)
    if with_flex and (merged or scores_are_changed):
        return flex.KERNEL
    if scores_are_changed:
        return "eager"
    if merged and row_tokens > LONG_ROW and not any(layer_windows(text)):
        return segments.KERNEL
    return "sdpa"


def _changes_scores(text: PretrainedConfig) -> bool:
    """Whether attention caps its scores or has sinks, neither of which SDPA knows."""
    return bool(getattr(text, "attn_logit_softcapping", None)) or text.model_type in _WITH_SINKS


def wants_flex(config: PretrainedConfig, *, merged: bool) -> bool:
    """Whether a GPU should compute such rows by FlexAttention: merged ones, and those that SDPA cannot."""
    return merged or (_changes_scores(config.get_text_config()) and why_not_joined(config) is None)


def why_not_merged(config: PretrainedConfig) -> str | None:
    """Returns why rows of this model must not be tries of several sequences; None if they may."""
    if (reason := why_not_joined(config)) is not None:
        return reason
    text = config.get_text_config()
    for name in ("num_local_experts", "num_experts", "n_routed_experts"):
        if (getattr(text, name, None) or 0) > 1:
            return "it routes tokens to experts, whose balance would count a shared prefix once"
    return None


def why_not_joined(config: PretrainedConfig) -> str | None:
    """Returns why a mask and positions do not confine a sequence to its own tokens in a row of several; None if
    they do."""
    text = config.get_text_config()
    if strange := set(getattr(text, "layer_types", None) or ()) - _KNOWN_LAYERS:
        return f"its {', '.join(sorted(strange))} layers carry state from one sequence into the next"
    for name in ("layers_block_type", "block_types", "mamba_d_state", "state_size", "ssm_cfg"):
        if getattr(text, name, None):
            return f"{name} in its config: recurrent layers carry state from one sequence into the next"
    if getattr(text, "alibi", False) or text.model_type in ("bloom", "mpt"):
        return "ALiBi takes distances from places in the row, not from position_ids"
    return None


def trie_mask(end: Tensor, depth: Tensor, window: int | None = None) -> Tensor:
    """Returns True where a query may attend to a key.

    Args:
        end: (rows, tokens) index just past the subtree of each token.
        depth: (rows, tokens) position ids.
        window: tokens seen by a sliding-window layer, itself included.

    Returns:
        (rows, 1, tokens, tokens) bool: the 4-D mask that broadcasts over heads.
    """
    index = torch.arange(end.shape[-1], device=end.device)
    query, key = index[:, None], index[None, :]
    mask = (key <= query) & (query < end[:, None, :])
    if window is not None:
        mask &= depth[:, :, None] - depth[:, None, :] < window
    return mask[:, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where ``mask`` is True, −∞ elsewhere. Made once, it is shared by all layers; from a boolean mask SDPA makes
    a copy per layer and keeps it for the backward pass."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))


def model_masks(
    config: PretrainedConfig, end: Tensor, depth: Tensor, dtype: torch.dtype
) -> Mask | dict[str, Mask]:
    """Returns what the model of ``config`` takes as ``attention_mask``: one mask, or one per kind of layer.

    Args:
        config: of the text model, with the attention kernel that it was loaded with.
        dtype: of the model's activations.
    """

    def mask(window: int | None) -> Mask:
        if config._attn_implementation == flex.KERNEL:
            return flex.trie_block_mask(end, depth, window)
        return additive(trie_mask(end, depth, window), dtype)

    windows = layer_windows(config)
    if _SLIDING in (getattr(config, "layer_types", None) or ()):
        return {_FULL: mask(None), _SLIDING: mask(config.sliding_window)}
    return mask(windows[0])


def layer_shapes(config: PretrainedConfig) -> set[flex.LayerShape]:
    """Returns one of each shape of attention that the text model of ``config`` has."""
    text = config.get_text_config()
    return {
        flex.LayerShape(
            heads=heads,
            key_heads=key_heads,
            width=width,
            window=window,
            softcap=getattr(text, "attn_logit_softcapping", None),
            has_sinks=text.model_type in _WITH_SINKS,
        )
        for (heads, key_heads, width), window in zip(layer_heads(text), layer_windows(text), strict=True)
    }
