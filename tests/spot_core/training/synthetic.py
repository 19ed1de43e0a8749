"""Synthetic pairs of random tokens."""

import numpy as np

from spot_core.training.pairs import Pair

VOCABULARY = 61


def random_pairs(count: int, seed: int = 0, *, shared_prompt: int = 0) -> list[Pair]:
    """Pairs whose y⁺ is an edit of y⁻; ``shared_prompt`` tokens are the same in all prompts."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> np.ndarray:
        return rng.integers(0, VOCABULARY, rng.integers(low, high)).astype(np.int32)

    common = rng.integers(0, VOCABULARY, shared_prompt).astype(np.int32)
    pairs = []
    for index in range(count):
        prompt, rejected = np.concatenate([common, ids(1, 9)]), ids(2, 16)
        cut = int(rng.integers(0, len(rejected)))
        chosen = np.concatenate([rejected[:cut], ids(1, 9)])
        pairs.append(Pair(f"q{index:04d}", 0, prompt, rejected, chosen))
    return pairs
