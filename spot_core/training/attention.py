"""Who attends to whom in rows of token tries, in the form that each attention kernel takes.

With ``end[k]`` the index just past the subtree of token k, query q may attend to key k exactly if
k ≤ q < end[k]; in a sliding-window layer also depth[q] − depth[k] < window. Padding has ``end[k] = k + 1``.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import PretrainedConfig

from spot_core.training import segments

BLOCK = 128
"""Tokens on each side of a block that FlexAttention computes or skips; rows for it are padded to whole blocks."""

LONG_ROW = 384
"""Tokens of a row from which on a CPU gains more by leaving out forbidden attention than it loses by many calls."""

_FULL, _SLIDING = "full_attention", "sliding_attention"
_KNOWN_LAYERS = {_FULL, _SLIDING}
Mask = Tensor | BlockMask


def attention_kernel(config: PretrainedConfig, *, on_gpu: bool, merged: bool, row_tokens: int) -> str:
    """Returns the ``attn_implementation`` of transformers that is right, and fastest, for such rows here.

    SDPA has no soft-capping of attention scores and no sinks; FlexAttention has no backward pass on a CPU.

    Args:
        row_tokens: of the longest row.
    """
    text = config.get_text_config()
    scores_are_changed = getattr(text, "attn_logit_softcapping", None) or text.model_type == "gpt_oss"
    if on_gpu and (merged or scores_are_changed):
        return "flex_attention"
    if scores_are_changed:
        return "eager"
    has_windows = getattr(text, "sliding_window", None) or _SLIDING in (
        getattr(text, "layer_types", None) or ()
    )
    return segments.KERNEL if merged and row_tokens > LONG_ROW and not has_windows else "sdpa"


def why_not_merged(config: PretrainedConfig) -> str | None:
    """Returns why a mask and positions do not confine a model to the paths of a trie; None if they do."""
    text = config.get_text_config()
    if strange := set(getattr(text, "layer_types", None) or ()) - _KNOWN_LAYERS:
        return f"its {', '.join(sorted(strange))} layers carry state from one sequence into the next"
    for name in ("layers_block_type", "block_types", "mamba_d_state", "state_size", "ssm_cfg"):
        if getattr(text, name, None):
            return f"{name} in its config: recurrent layers carry state from one sequence into the next"
    if getattr(text, "alibi", False) or text.model_type in ("bloom", "mpt"):
        return "ALiBi takes distances from places in the row, not from position_ids"
    for name in ("num_local_experts", "num_experts", "n_routed_experts"):
        if (getattr(text, name, None) or 0) > 1:
            return "it routes tokens to experts, whose balance would count a shared prefix once"
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


def trie_block_mask(end: Tensor, depth: Tensor, window: int | None = None) -> BlockMask:
    """The same mask for FlexAttention, without ever making it whole: which blocks are computed follows from the
    extremes of ``end`` and ``depth`` in each.

    Args:
        end, depth, window: as for `trie_mask`; tokens must be whole blocks.
    """
    rows, tokens = end.shape
    assert tokens % BLOCK == 0, f"{tokens} tokens are not whole blocks of {BLOCK}"
    first = torch.arange(0, tokens, BLOCK, device=end.device)  # (blocks,)
    lowest_end, highest_end = end.view(rows, -1, BLOCK).aminmax(dim=-1)  # (rows, key blocks)
    before = first[:, None] > first[None, :]  # key block wholly before query block
    some = before & (highest_end[:, None, :] > first[None, :, None]) | torch.eye(
        len(first), dtype=torch.bool, device=end.device
    )
    every = before & (lowest_end[:, None, :] >= first[None, :, None] + BLOCK)
    if window is not None:
        shallowest, deepest = depth.view(rows, -1, BLOCK).aminmax(dim=-1)
        some &= shallowest[:, :, None] - deepest[:, None, :] < window
        every &= deepest[:, :, None] - shallowest[:, None, :] < window

    def attends(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        allowed = (key <= query) & (query < end[row, key])
        return allowed if window is None else allowed & (depth[row, query] - depth[row, key] < window)

    return BlockMask.from_kv_blocks(
        *_listed(some & ~every),
        *_listed(every),
        BLOCK_SIZE=BLOCK,
        mask_mod=attends,
        seq_lengths=(tokens, tokens),
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, query blocks, key blocks) bool → how many per query block, and which come first; one for all heads."""
    order = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[:, None], order.to(torch.int32)[:, None]


def model_masks(
    config: PretrainedConfig, end: Tensor, depth: Tensor, dtype: torch.dtype
) -> Mask | dict[str, Mask]:
    """Returns what the model of ``config`` takes as ``attention_mask``: one mask, or one per kind of layer.

    Args:
        config: of the text model, with the attention kernel that it was loaded with.
        dtype: of the model's activations.
    """

    def mask(window: int | None) -> Mask:
        if config._attn_implementation == "flex_attention":
            return trie_block_mask(end, depth, window)
        return additive(trie_mask(end, depth, window), dtype)

    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if _SLIDING in kinds:
        return {_FULL: mask(None), _SLIDING: mask(window)}
    return mask(None if kinds else window)
