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
from transformers import AttentionInterface

KERNEL = "trie_segments"
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
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
    ranges: list[list[tuple[int, int]]]
    """Tokens [start, stop) that these keys are, neighbouring ones joined."""

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
        return cls(segments, masks, [_ranges(segments, number) for number in range(len(segments))])


def _ranges(segments: Sequence[Segment], number: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for at in (*segments[number].ancestors, number):
        start, stop = segments[at].start, segments[at].stop
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, stop))
    return ranges


class _Attend(torch.autograd.Function):
    """(heads, tokens, width), (key heads, tokens, width) twice → (heads, tokens, width). What is kept for the
    backward pass is that of plain attention: keys that several segments see are joined again there."""

    @staticmethod
    def forward(  # noqa: PLR0917  (autograd calls it by position)
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, row: RowSegments, scale: float | None
    ) -> Tensor:
        out, normalisers = torch.empty_like(query), []
        for number, segment in enumerate(row.segments):
            found, normaliser = _flash(
                _folded(query, segment, len(key)),
                *(_seen(row, number, whole) for whole in (key, value)),
                attn_mask=row.masks[number],
                scale=scale,
            )
            out[:, segment.start : segment.stop] = found.reshape(len(query), -1, found.shape[-1])
            normalisers.append(normaliser)
        ctx.save_for_backward(query, key, value, out, *normalisers)
        ctx.row, ctx.scale = row, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, *normalisers = ctx.saved_tensors
        by_query, by_key, by_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for number, segment in enumerate(ctx.row.segments):
            of_query, *of_seen = _flash_backward(
                *(_folded(whole, segment, len(key)) for whole in (gradients[0], query)),
                *(_seen(ctx.row, number, whole) for whole in (key, value)),
                _folded(out, segment, len(key)),
                normalisers[number],
                0.0,
                False,
                attn_mask=ctx.row.masks[number],
                scale=ctx.scale,
            )
            by_query[:, segment.start : segment.stop] = of_query.reshape(len(query), -1, of_query.shape[-1])
            for total, parts in zip((by_key, by_value), of_seen, strict=True):
                place = 0
                for start, stop in ctx.row.ranges[number]:
                    total[:, start:stop] += parts[0, :, place : place + stop - start]
                    place += stop - start
        return by_query, by_key, by_value, None, None


def _folded(whole: Tensor, segment: Segment, key_heads: int) -> Tensor:
    """A segment's part of (heads, tokens, width) as (1, key heads, group × tokens, width): heads that share a key
    head become queries of it, so that no key is repeated."""
    part = whole[:, segment.start : segment.stop]
    return part.reshape(1, key_heads, -1, whole.shape[-1])


def _seen(row: "RowSegments", number: int, whole: Tensor) -> Tensor:
    """(key heads, tokens, width) → (1, key heads, seen tokens, width)"""
    return torch.cat([whole[:, start:stop] for start, stop in row.ranges[number]], 1)[None]


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
        _Attend.apply(q, k, v, row, scaling)
        for q, k, v, row in zip(query.unbind(), key.unbind(), value.unbind(), trie_rows, strict=True)
    ]
    return torch.stack(found).transpose(1, 2).contiguous(), None


AttentionInterface.register(KERNEL, segmented_attention)
