r"""Measures the calculator Oracle on slips and on real responses:  python -m benchmarks.calculator

Slips: chains of the demo, and two-step questions answered as in profile `smollm2`, whose answer is wrong because a
result is. Real: labelled responses of GSM8K and MATH, and GSM8K's reference solutions: prose, which the calculator
leaves alone. The last line is JSON with all figures.
"""

import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Annotated

import typer

from benchmarks.shared_data import shared_rows
from spot_core.demo.chains import STEPS, draw_chain, slipped_values, values_after, write_response
from spot_core.demo.two_step import expressions
from spot_core.oracles.calculator import NoCorrectionError, correct

RATES = (0.1, 0.3, 0.6, 1.0)
"""Of forgotten carries."""
OFFSETS = (-10, -2, -1, 1, 2, 10)


def chains(rng: Random) -> Iterator[tuple[str, str, str]]:
    """Question, right response and slipped response of random chains of the demo; endless."""
    while True:
        chain = draw_chain(rng, rng.choice(STEPS))
        right, slipped = values_after(chain.start, chain.steps), slipped_values(rng, chain, rng.choice(RATES))
        if slipped[-1] != right[-1]:
            yield chain.question, write_response(chain, right), write_response(chain, slipped)


def two_steps(rng: Random) -> Iterator[tuple[str, str, str]]:
    """The same for two-step questions, with one or both results off."""
    questions = [item.question for kind in ("a+b-c", "a*b+c") for item in expressions(kind)]
    while True:
        question = rng.choice(questions)
        first, second = rng.choice(OFFSETS), rng.choice(OFFSETS)
        off = rng.choice([(first, 0), (0, second), (first, second)])
        if sum(off):
            yield question, _two_step_response(question, (0, 0)), _two_step_response(question, off)


def _two_step_response(question: str, off: tuple[int, int]) -> str:
    left, *rest = question.removeprefix("Compute ").removesuffix(".").split()
    sentences = []
    for opening, operator, right, slip in zip(("First", "Then"), rest[::2], rest[1::2], off, strict=True):
        a, b = int(left), int(right)
        result = {"+": a + b, "-": a - b, "*": a * b}[operator] + slip
        sentences.append(f"{opening}, {left} {operator} {right} = {result}.")
        left = str(result)
    return f"{' '.join(sentences)} The answer is \\boxed{{{left}}}."


def real_responses() -> Iterator[tuple[str, str, bool]]:
    """Question, response, and whether it is right; those whose label is known to be wrong are left out."""
    for name in ("gsm8k_model_solutions_400", "math_model_solutions"):
        for row in shared_rows(name):
            if not row.get("label_error"):
                yield row["question"], row["response"], row["is_correct"]
    questions = {row["id"]: row["question"] for row in shared_rows("gsm8k_train_500")}
    for row in shared_rows("gsm8k_train_500_solutions"):
        yield questions[row["id"]], row["solution"], True


def propose(question: str, response: str) -> str | None:
    """The calculator's proposal; None if it makes none."""
    try:
        return correct(response, question)
    except NoCorrectionError:
        return None


def main(
    *,
    count: Annotated[int, typer.Option(help="Responses of each kind with slips.")] = 5000,
    seed: Annotated[int, typer.Option(help="Of the slips.")] = 0,
) -> None:
    """Measures the calculator Oracle."""
    real: Counter[str] = Counter()
    for question, response, is_right in real_responses():
        edited = propose(question, response) is not None
        real[f"{'right' if is_right else 'wrong'}, {'edited' if edited else 'left alone'}"] += 1
    figures = {"real responses": real}
    for name, rows in (("chains", chains(Random(seed))), ("two steps", two_steps(Random(seed)))):
        outcomes = figures[name] = Counter()
        for _, (question, right, wrong) in zip(range(count), rows, strict=False):
            outcomes["right, edited"] += propose(question, right) is not None
            proposal = propose(question, wrong)
            outcome = "restored" if proposal == right else "made something else"
            outcomes["left alone" if proposal is None else outcome] += 1
    for name, counts in figures.items():
        print(f"{name}: {'; '.join(f'{what}: {number}' for what, number in counts.items())}")
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
