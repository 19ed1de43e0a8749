"""Token tries: sequences merged by common prefix into one row, every distinct prefix computed once.

A row lists the nodes of a forest depth first. With ``end[k]`` the index just past the subtree of node k,

    token q may attend to token k exactly if k ≤ q < end[k]          position_id = depth in the trie

so each sequence sees its own prefix and nothing else. A sequence is not a leaf but a path: it may end at an
inner node, and a duplicate is a second path over the same nodes. An *edge* is a node predicted from its parent
as response token by at least one sequence; a node with several children is so scored once per child.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """One row. ``nodes`` are in depth-first order; ``paths`` list (sequence, edge) incidences."""

    tokens: np.ndarray  # (nodes,) int64
    end: np.ndarray  # (nodes,) int64
    depth: np.ndarray  # (nodes,) int64
    edge_parent: np.ndarray  # (edges,) int64: node whose hidden state predicts
    edge_node: np.ndarray  # (edges,) int64: node that is predicted
    path_sequence: np.ndarray  # (incidences,) int64: index into the given sequences
    path_edge: np.ndarray  # (incidences,) int64: index into the edges
    sequences: int


def shared_prefix(first: np.ndarray, second: np.ndarray) -> int:
    """Tokens that two sequences have in common at their start."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


def lexicographic_order(sequences: Sequence[np.ndarray]) -> list[int]:
    """Indexes of ``sequences`` in the order of their token ids, a prefix before what continues it."""
    keys = [sequence.astype(">u4").tobytes() for sequence in sequences]
    return sorted(range(len(sequences)), key=keys.__getitem__)


def build_trie(sequences: Sequence[np.ndarray], prompt_tokens: Sequence[int]) -> TokenTrie:
    """Merges ``sequences`` (prompt and response each), of which the first ``prompt_tokens[i]`` are not scored.

    In lexicographic order each sequence shares more with its predecessor than with any earlier one, so walking
    them in that order visits the trie depth first and needs no tree of objects.
    """
    assert all(prompt >= 1 for prompt in prompt_tokens), "the first token of a sequence cannot be predicted"
    tokens: list[np.ndarray] = []
    parents: list[np.ndarray] = []
    ends = np.zeros(sum(map(len, sequences)), dtype=np.int64)
    paths: dict[int, np.ndarray] = {}
    size = 0
    path = np.zeros(0, dtype=np.int64)  # nodes of the current sequence
    previous = np.zeros(0, dtype=np.int64)
    for index in lexicographic_order(sequences):
        sequence = sequences[index]
        shared = shared_prefix(previous, sequence)
        ends[path[shared:]] = size  # their subtrees are complete
        added = np.arange(size, size + len(sequence) - shared)
        tokens.append(sequence[shared:])
        path = np.concatenate([path[:shared], added])
        parents.append(np.concatenate([[-1], path])[shared : len(path)])
        paths[index] = path
        previous, size = sequence, size + len(added)
    ends[path] = size
    end = ends[:size]
    parent = np.concatenate([*parents, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    depth = np.zeros(size, dtype=np.int64)
    for path in paths.values():
        depth[path] = np.arange(len(path))

    scored = [paths[index][prompt:] for index, prompt in enumerate(prompt_tokens)]  # nodes of each response
    path_node = np.concatenate([*scored, np.zeros(0, dtype=np.int64)])
    edge_node, path_edge = np.unique(path_node, return_inverse=True)
    return TokenTrie(
        tokens=np.concatenate([*tokens, np.zeros(0, dtype=np.int64)]).astype(np.int64),
        end=end,
        depth=depth,
        edge_parent=parent[edge_node],
        edge_node=edge_node,
        path_sequence=np.repeat(np.arange(len(scored)), [len(nodes) for nodes in scored]),
        path_edge=path_edge,
        sequences=len(sequences),
    )
