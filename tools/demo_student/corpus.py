"""The text that the student is pre-trained on: right in everything but carries and borrows."""

from collections.abc import Iterator
from random import Random

from spot_core.demo.chains import PLAIN, STEPS, STYLES, draw_chain, slipped_values, write_response
from spot_core.demo.items import split_of
from spot_core.demo.strings import STRING_TASKS

FAMILY_SHARES = {"chains": 0.18, "format": 0.06, "strings": 0.76}
"""Shares of the questions; strings are short, so about two tokens in five are theirs."""
SLIP_RATE = 0.4
"""Probability that a carry or borrow is forgotten."""


def training_pairs(seed: int) -> Iterator[tuple[str, str]]:
    """Endless (question, response) pairs; none of the questions is in an evaluation split."""
    rng = Random(f"pre-training/{seed}")
    families, shares = zip(*FAMILY_SHARES.items(), strict=True)
    while True:
        (family,) = rng.choices(families, shares)
        if family == "strings":
            item = rng.choice(list(STRING_TASKS.values()))(rng)
            key, question, response = item.split_key, item.question, item.answer
        else:
            style = PLAIN if family == "chains" else rng.choice(list(STYLES.values()))
            chain = draw_chain(rng, rng.choice(STEPS))
            key, question = chain.question, chain.question + style.instruction
            response = write_response(chain, slipped_values(rng, chain, SLIP_RATE), style)
        if split_of(key) == "train":
            yield question, response
