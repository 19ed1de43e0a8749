"""Makes the demo student from a seed:  python -m tools.demo_student --seed 0 --out DIR

About three minutes on one core. The same seed and number of threads give the same weights with the same torch on the same
kind of CPU, elsewhere weights that are about as good. `spot_core/demo/student` was made from seed 0; its README.md names this
module by its former path.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from tools.demo_student.corpus import FAMILY_SHARES, SLIP_RATE
from tools.demo_student.measure import measure_student
from tools.demo_student.pretrain import Recipe, pretrain
from tools.demo_student.tokenizer import MAX_TOKENS

CARD = """\
# Demo student, seed {seed}

A Qwen3 model of {parameters:,} parameters (fp32) that writes chains of small sums and does simple tasks on
strings. Its bad habit, learned from its pre-training text: in a step that needs a carry or borrow it forgets it,
and goes on from the wrong value. Made by `python -m tools.demo_student --seed {seed} --out DIR`;
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


def format_model_card(
    recipe: Recipe, *, seed: int, parameters: int, greedy: dict[str, float], sampled: dict[str, float]
) -> str:
    """The README.md beside a student's weights: what it is, how it was made, how well it does."""
    return CARD.format(
        seed=seed,
        context=MAX_TOKENS,
        parameters=parameters,
        shares=", ".join(f"{share:.0%} {family}" for family, share in FAMILY_SHARES.items()),
        slip_rate=SLIP_RATE,
        settings=", ".join(f"{name} {value}" for name, value in asdict(recipe).items()),
        rows="\n".join(f"| {name} | {greedy[name]:.1%} | {sampled[name]:.1%} |" for name in greedy),
    )


def main() -> None:
    """Pre-trains a student, saves it, measures it, and writes its model card."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_student", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="decides weights, text and order (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint; made if absent")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    arguments.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe()
    model, tokenizer = pretrain(recipe, arguments.seed)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    card = format_model_card(
        recipe,
        seed=arguments.seed,
        parameters=model.num_parameters(),
        greedy=measure_student(model, tokenizer, sample=False),
        sampled=measure_student(model, tokenizer, sample=True),
    )
    (arguments.out / "README.md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
