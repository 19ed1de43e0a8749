"""Attention over long rows of token tries on a CPU: only what may be attended to is computed.

Dense attention under a mask spends its time on pairs of tokens that the mask forbids: on a row of two responses of
600 tokens that share half, more than half of it. Here a row is cut into *segments* of neighbouring tokens whose
ancestors outside the segment are whole segments. So the queries of a segment attend to its ancestors' keys without
restriction and to their own segment under a small mask, and nothing else is touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

KERNEL = "trie_segments"
_LONGEST = 128
"""Most tokens of a segment, where the trie allows it: shorter ones waste less work, but each costs a call."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens [start, stop) of a row."""

    start: int
    stop: int
    ancestors: tuple[int, ...]
    """Segments of the row, by number, that all its tokens descend from."""


def cut(end: np.ndarray, longest: int = _LONGEST) -> list[Segment]:
    """Cuts a row into segments: pieces of chains, and neighbouring subtrees that together are small.

    Args:
        end: (tokens,) index just past the subtree of each token; padding has ``end[k] = k + 1``.
    """
    segments: list[Segment] = []
    open_ranges: list[tuple[int, int, tuple[int, ...]]] = [(0, len(end), ())]
    while open_ranges:
        start, stop, ancestors = open_ranges.pop()
        # [start, stop) are sibling subtrees: take as many as fit into a segment.
        last = start
        while last < stop and end[last] - start <= longest:
            last = int(end[last])
        if last > start:
            segments.append(Segment(start, last, ancestors))
            if last < stop:
                open_ranges.append((last, stop, ancestors))
            continue
        # The first one alone is too large: its stem, then the subtrees on it.
        subtree = int(end[start])
        if subtree < stop:
            open_ranges.append((subtree, stop, ancestors))
        tip = start + 1
        while tip < subtree and end[tip] == subtree and tip - start < longest:
            tip += 1
        segments.append(Segment(start, tip, ancestors))
        if tip < subtree:
            open_ranges.append((tip, subtree, (*ancestors, len(segments) - 1)))
    return segments


@dataclass(frozen=True, eq=False)
class RowSegments:
    """The segments of a row, with the mask of each."""

    segments: list[Segment]
    masks: list[Tensor]
    """(1, 1, group × tokens, keys) each, additive; keys are those of the ancestors, then the segment's own."""

    @classmethod
    def of(cls, end: Tensor, group: int, dtype: torch.dtype) -> "RowSegments":
        """Makes the masks that all layers share.

        Args:
            end: (tokens,) of one row, as for `cut`.
            group: query heads that share a key head.
            dtype: of the model's activations.
        """
        array = end.numpy()
        segments = cut(array)
        masks = []
        for segment in segments:
            place = np.arange(segment.start, segment.stop)
            own_end = array[segment.start : segment.stop]
            allowed = (place[None, :] <= place[:, None]) & (place[:, None] < own_end[None, :])
            before = sum(segments[number].stop - segments[number].start for number in segment.ancestors)
            mask = torch.zeros(len(place), before + len(place), dtype=dtype)
            mask[:, before:].masked_fill_(torch.from_numpy(~allowed), float("-inf"))
            masks.append(mask.repeat(group, 1)[None, None])
        return cls(segments, masks)


def _attend(query: Tensor, key: Tensor, value: Tensor, row: RowSegments, scale: float | None) -> Tensor:
    """(heads, tokens, width), (key heads, tokens, width) twice → (heads, tokens, width)"""
    # Parts by `split`, whose backward pass joins their gradients once; slices would each make a whole row of them.
    sizes = [segment.stop - segment.start for segment in row.segments]
    queries, keys, values = query.split(sizes, 1), key.split(sizes, 1), value.split(sizes, 1)
    shared, group = len(key), len(query) // len(key)
    parts = []
    for number, (segment, mask) in enumerate(zip(row.segments, row.masks, strict=True)):
        seen = [*segment.ancestors, number]
        # Heads that share a key head are queries of it: no key is repeated.
        folded = queries[number].reshape(1, shared, group * sizes[number], -1)
        found = scaled_dot_product_attention(
            folded,
            torch.cat([keys[at] for at in seen], 1)[None],
            torch.cat([values[at] for at in seen], 1)[None],
            attn_mask=mask,
            scale=scale,
        )
        parts.append(found.view(len(query), sizes[number], -1))
    return torch.cat(parts, 1)


def segmented_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    *,
    trie_rows: Sequence[RowSegments],
    scaling: float | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for ``attn_implementation=KERNEL``. (rows, heads, tokens, width) in, (rows, tokens,
    heads, width) out."""
    found = [
        _attend(q, k, v, row, scaling)
        for q, k, v, row in zip(query.unbind(), key.unbind(), value.unbind(), trie_rows, strict=True)
    ]
    return torch.stack(found).transpose(1, 2).contiguous(), None


AttentionInterface.register(KERNEL, segmented_attention)
