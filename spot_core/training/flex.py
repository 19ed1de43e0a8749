"""Attention over rows of token tries on a GPU: FlexAttention computes only the blocks of the matrix of scores in which
something may be attended to.

It is such a kernel only when it is compiled; uncompiled it makes the whole matrix. So it is compiled here, and

- all rows share few graphs: one per kind of layer (full, sliding) and per set of inputs that need a gradient. What
  differs between rows are tensors, and their number of tokens is declared dynamic; a row has at least two blocks,
  since Dynamo treats a length of one as a constant.
- with more graphs than `MAX_GRAPHS`, or where nothing is compiled, it raises and never computes the whole matrix.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention
from transformers import AttentionInterface

from spot_core.errors import EngineError

KERNEL = "trie_blocks"
BLOCK = 128
"""Tokens on each side of a block that is computed or skipped; rows are padded to whole blocks, at least two."""
MAX_GRAPHS = 16
"""Compiled graphs of one process. Expected are 1 or 2, twice as many if some layers have no gradient of q, k or v."""
BACKEND = "inductor"
"""What makes kernels of the graphs."""

log = logging.getLogger(__name__)


class Paths(NamedTuple):
    """Who may attend to whom, as a `mask_mod` of FlexAttention."""

    end: Tensor  # (rows, tokens) int32: index just past the subtree of each token
    depth: Tensor  # (rows, tokens) int32
    horizon: Tensor | None  # (rows, tokens) int32: depth of the deepest token that is out of a sliding window

    def __call__(self, row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        allowed = (key <= query) & (query < self.end[row, key])
        if self.horizon is None:
            return allowed
        return allowed & (self.depth[row, key] > self.horizon[row, query])


def trie_block_mask(end: Tensor, depth: Tensor, window: int | None = None) -> BlockMask:
    """Returns the mask of `trie_mask` for FlexAttention, without ever making it whole: which blocks are computed
    follows from the extremes of ``end`` and ``depth`` in each.

    Args:
        end, depth, window: as for `trie_mask`; tokens must be whole blocks, at least two.
    """
    rows, tokens = end.shape
    assert tokens % BLOCK == 0 and tokens >= 2 * BLOCK, f"{tokens} tokens are not whole blocks of {BLOCK}"
    end, depth = end.int(), depth.int()
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
    return BlockMask.from_kv_blocks(
        *_listed(some & ~every),
        *_listed(every),
        BLOCK_SIZE=BLOCK,
        mask_mod=Paths(end, depth, None if window is None else depth - window),
        seq_lengths=(tokens, tokens),
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, query blocks, key blocks) bool → how many per query block, and which come first; one for all heads."""
    order = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[:, None], order.to(torch.int32)[:, None]


def block_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for ``attn_implementation=KERNEL``. (rows, heads, tokens, width) in, (rows, tokens,
    heads, width) out.

    Args:
        attention_mask: of `trie_block_mask`.
        softcap: cap of the scores, if the model has one.
        s_aux: (heads,) attention sinks, if the model has some.
    """
    paths = attention_mask.mask_mod
    assert isinstance(paths, Paths)
    blocks = (
        attention_mask.kv_num_blocks,
        attention_mask.kv_indices,
        attention_mask.full_kv_num_blocks,
        attention_mask.full_kv_indices,
        attention_mask.q_num_blocks,
        attention_mask.q_indices,
        attention_mask.full_q_num_blocks,
        attention_mask.full_q_indices,
    )
    # Not `dynamic=True`, which would make variables of the scale and of the size of a block too.
    mark = torch._dynamo.maybe_mark_dynamic
    for tensor in (query, key, value, *blocks[::2]):
        mark(tensor, 2)
    for tensor in blocks[1::2]:
        mark(tensor, [2, 3])
    for tensor in paths:
        if tensor is not None:
            mark(tensor, 1)
    return _compiled()((query, key, value), paths, blocks, s_aux, scaling, softcap=softcap), None


def _attend(
    states: tuple[Tensor, Tensor, Tensor],
    paths: Paths,
    blocks: tuple[Tensor, ...],
    sinks: Tensor | None,
    scale: float | None,
    *,
    softcap: float | None,
) -> Tensor:
    if not torch.compiler.is_compiling():
        raise EngineError(
            "FlexAttention was called without being compiled, and would make the whole matrix of scores: unset "
            "TORCH_COMPILE_DISABLE and TORCHDYNAMO_DISABLE, or set train.rows to plain"
        )
    query, key, value = states
    tokens = query.shape[2]
    torch._check(tokens % BLOCK == 0)  # so the kernel need not look where a row ends

    def allowed(row: Tensor, head: Tensor, at: Tensor, other: Tensor) -> Tensor:
        return paths(row, head, at, other)

    def cap(score: Tensor, *_place: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    found = flex_attention(
        query,
        key,
        value,
        score_mod=None if softcap is None else cap,
        block_mask=BlockMask((tokens, tokens), *blocks, BLOCK_SIZE=(BLOCK, BLOCK), mask_mod=allowed),
        scale=scale,
        enable_gqa=True,
        return_aux=None if sinks is None else AuxRequest(lse=True),
    )
    if sinks is not None:
        # A sink takes its share of the softmax and has no value: Σ e^s / (Σ e^s + e^sink) is left for the others.
        out, aux = found
        left = torch.sigmoid(aux.lse - sinks.float()[None, :, None])
        found = (out * left[..., None]).to(out.dtype)
    return found.transpose(1, 2).contiguous()


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(_attend, fullgraph=True, backend=BACKEND, recompile_limit=MAX_GRAPHS)


AttentionInterface.register(KERNEL, block_attention)


@dataclass(frozen=True)
class LayerShape:
    """What tells one layer's calls of `block_attention` from another's."""

    heads: int
    key_heads: int
    width: int
    """Of a head."""
    window: int | None
    softcap: float | None
    has_sinks: bool


def has_backward(device: torch.device) -> bool:
    """Whether FlexAttention can be trained through on ``device``."""
    return device.type == "cuda"


def why_not_flex(
    layers: Iterable[LayerShape], *, dtype: torch.dtype, device: torch.device, longest: int
) -> str | None:
    """Returns why FlexAttention cannot compute rows for these layers on ``device``; None if it can.

    Tries it forward and backward, with rows of every order of length. Training uses the kernels that this compiles.

    Args:
        layers: one of each shape that the model has.
        dtype: of the model's activations.
        longest: tokens of the longest row.
    """
    # Imported here, since on a CPU nothing else needs the compiler.
    from torch._dynamo.exc import FailOnRecompileLimitHit, ShortenTraceback  # noqa: PLC0415
    from torch._inductor.runtime.triton_compat import OutOfResources, PTXASError  # noqa: PLC0415

    started, before = time.perf_counter(), count_graphs()
    lengths = _lengths(longest)
    try:
        for layer in layers:
            for tokens in lengths:
                _try(layer, tokens, dtype, device)
    except FailOnRecompileLimitHit:
        return f"FlexAttention needs more than {MAX_GRAPHS} compiled graphs for its rows"
    except (ShortenTraceback, OutOfResources, PTXASError) as error:
        return _say(error)
    except RuntimeError as error:
        # What Inductor raises if the GPU can load none of the kernels that it built.
        if not str(error).startswith("No valid triton configs"):
            raise
        return _say(error)
    graphs, seconds = count_graphs() - before, time.perf_counter() - started
    log.info("FlexAttention: %d graphs for rows of up to %d tokens, in %.0f s", graphs, lengths[-1], seconds)
    return None


def _say(error: Exception) -> str:
    return f"FlexAttention cannot be compiled for it: {' '.join(str(error).split())[:300]}"


def count_graphs() -> int:
    """Graphs that this process has compiled so far."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def _lengths(longest: int) -> list[int]:
    """Whole blocks, two at least: doubling, and three, up to the longest."""
    most = max(2, -(-longest // BLOCK))
    doubling = {2**power for power in range(1, most.bit_length())}
    return sorted(blocks * BLOCK for blocks in doubling | {3, most} if blocks <= most)


@torch.enable_grad()  # the reference pass has switched it off
def _try(layer: LayerShape, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
    def states(heads: int) -> Tensor:  # in memory as those of a model
        return torch.zeros(
            1, tokens, heads, layer.width, dtype=dtype, device=device, requires_grad=True
        ).transpose(1, 2)

    chain = torch.arange(tokens, device=device)[None]
    sinks = torch.zeros(layer.heads, dtype=dtype, device=device, requires_grad=True)
    found, _ = block_attention(
        nn.Module(),
        states(layer.heads),
        states(layer.key_heads),
        states(layer.key_heads),
        trie_block_mask(torch.full_like(chain, tokens), chain, layer.window),
        scaling=layer.width**-0.5,
        softcap=layer.softcap,
        s_aux=sinks if layer.has_sinks else None,
    )
    found.sum().backward()
