"""The README.md beside a student's weights: what it is, how it was made, how well it does."""

from pathlib import Path
from typing import Any

from spot_core.demo.corpus import FAMILY_SHARES, SLIP_RATE
from spot_core.demo.tokenizer import MAX_TOKENS

CARD = """\
# Demo student, seed {seed}

A Qwen3 model of {parameters:,} parameters (fp32) that writes chains of small sums and does simple tasks on
strings. Its bad habit, learned from its pre-training text: in a step that needs a carry or borrow it forgets it,
and goes on from the wrong value. Made by `python -m spot_core.demo.pretrain --seed {seed} --out DIR`;
good for nothing but showing SPoT at work. Context: {context} tokens.

## Recipe

- questions: {shares}; a carry or borrow is forgotten with probability {slip_rate};
  no question of an evaluation split
- {settings}

## Share of right responses on evaluation questions

| family | greedy | sampled (temperature 0.7, top-p 0.8) |
|---|---|---|
{rows}
"""


def write_model_card(
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int,
    parameters: int,
    greedy: dict[str, float],
    sampled: dict[str, float],
) -> Path:
    """Path of the written README.md."""
    card = folder / "README.md"
    card.write_text(
        CARD.format(
            seed=seed,
            context=MAX_TOKENS,
            parameters=parameters,
            shares=", ".join(f"{share:.0%} {family}" for family, share in FAMILY_SHARES.items()),
            slip_rate=SLIP_RATE,
            settings=", ".join(f"{name} {value}" for name, value in recipe.items()),
            rows="\n".join(f"| {name} | {greedy[name]:.1%} | {sampled[name]:.1%} |" for name in greedy),
        )
    )
    return card
