"""Pairs of the demo's world: a chain with a forgotten carry, and the right one."""

from random import Random

import numpy as np
from transformers import AutoTokenizer

from spot_core.demo import STUDENT_PATH
from spot_core.demo.chains import draw_chain, slipped_values, values_after, write_response
from spot_core.training.pairs import Pair


def demo_pairs(count: int, *, steps: int = 3) -> list[Pair]:
    """What the demo trains its student on: y⁻ slips, y⁺ is right, both end with the end-of-turn token; of chains of so many
    ``steps``."""
    tokenizer, rng = AutoTokenizer.from_pretrained(STUDENT_PATH), Random(0)

    def ids(text: str) -> np.ndarray:
        return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)

    pairs: list[Pair] = []
    while len(pairs) < count:
        chain = draw_chain(rng, steps)
        right, wrong = values_after(chain.start, chain.steps), slipped_values(rng, chain, 0.9)
        if wrong == right:
            continue
        responses = (
            np.append(ids(write_response(chain, values)), tokenizer.eos_token_id).astype(np.int32)
            for values in (wrong, right)
        )
        question = [{"role": "user", "content": chain.question}]
        prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
        pairs.append(Pair(f"q{steps}{len(pairs):03d}", 0, ids(prompt), *responses))
    return pairs
