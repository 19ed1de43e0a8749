import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spot_core.training.pairs import Pair
from spot_core.training.prefixes import PrefixIndex, build_trie, shared_prefix
from spot_core.training.rows import collate

# Three tokens and short sequences: prefixes, duplicates and sequences that end inside others are common.
tokens = st.integers(0, 2)
sequences = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=4), st.lists(tokens, min_size=1, max_size=5)),
    min_size=1,
    max_size=7,
)


def _prefixes(ids: list[int]) -> list[tuple[int, ...]]:
    return [tuple(ids[: length + 1]) for length in range(len(ids))]


@given(sequences)
def test_mask_shows_every_token_exactly_its_own_prefix(parts: list[tuple[list[int], list[int]]]) -> None:
    whole = [prompt + response for prompt, response in parts]
    trie = build_trie([np.array(ids) for ids in whole], [len(prompt) for prompt, _ in parts])
    nodes = {prefix for ids in whole for prefix in _prefixes(ids)}
    assert len(trie.tokens) == len(nodes), "every distinct prefix is computed once"

    k = np.arange(len(trie.tokens))
    mask = (k[None, :] <= k[:, None]) & (k[:, None] < trie.end[None, :])  # [query, key]
    seen = [tuple(trie.tokens[mask[query]].tolist()) for query in k]
    assert set(seen) == nodes
    assert len(set(seen)) == len(seen)
    assert [len(prefix) - 1 for prefix in seen] == trie.depth.tolist()


@given(sequences)
def test_paths_score_exactly_the_response_tokens_of_each_sequence(
    parts: list[tuple[list[int], list[int]]],
) -> None:
    whole = [np.array(prompt + response) for prompt, response in parts]
    trie = build_trie(whole, [len(prompt) for prompt, _ in parts])
    k = np.arange(len(trie.tokens))
    prefix = [tuple(trie.tokens[(k <= query) & (query < trie.end)].tolist()) for query in k]
    for index, (prompt, response) in enumerate(parts):
        edges = trie.path_edge[trie.path_sequence == index]
        predicted = [prefix[node] for node in trie.edge_node[edges]]
        predicting = [prefix[node] for node in trie.edge_parent[edges]]
        expected = _prefixes(prompt + response)[len(prompt) :]
        assert sorted(predicted) == sorted(expected)
        assert [child[:-1] for child in predicted] == predicting
    assert len(np.unique(trie.edge_node)) == len(trie.edge_node), "an edge is scored once"


@given(st.lists(sequences, min_size=1, max_size=4))
def test_prefix_index_counts_the_nodes_of_any_subset(
    groups: list[list[tuple[list[int], list[int]]]],
) -> None:
    pairs = [
        Pair(f"{g}-{i}", 0, np.array(prompt), np.array(response), np.array(response[::-1]))
        for g, group in enumerate(groups)
        for i, (prompt, response) in enumerate(group)
    ]
    index = PrefixIndex(pairs)
    for subset in ([0], list(range(len(pairs))), list(range(0, len(pairs), 2))):
        nodes = {
            prefix
            for i in subset
            for ids in (pairs[i].chosen_sequence, pairs[i].rejected_sequence)
            for prefix in _prefixes(ids.tolist())
        }
        assert index.trie_tokens(subset) == len(nodes)
        row = index.open_row()
        for pair in subset:
            grown = row.tokens + row.growth(pair)
            row.add(pair)
            assert row.tokens == grown == index.trie_tokens(row.pairs)
    assert index.trie_tokens([]) == 0


def test_padding_attends_to_itself_only_and_nothing_sees_it() -> None:
    long = Pair("a", 0, np.array([1, 2, 3]), np.array([4, 5]), np.array([6]))
    short = Pair("b", 0, np.array([1]), np.array([2]), np.array([3]))
    batch = collate([long, short], ((0,), (1,)))
    size = 3
    assert batch.input_ids.shape == (2, 6)
    padding = np.arange(size, 6)
    assert batch.end[1, padding].tolist() == (padding + 1).tolist()
    assert int(batch.end[1, :size].max()) == size
    assert batch.tokens == 6 + size


def test_shared_prefix_of_a_prefix_is_the_whole_of_it() -> None:
    assert shared_prefix(np.array([1, 2]), np.array([1, 2, 3])) == 2
    assert shared_prefix(np.array([1, 2]), np.array([1, 3])) == 1
    assert shared_prefix(np.array([], dtype=int), np.array([1])) == 0
