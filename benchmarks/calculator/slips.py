"""Slips of arithmetic: a step of a right solution gets a wrong result, and all that follows goes on from it."""

import random
from dataclasses import dataclass
from fractions import Fraction

from benchmarks.calculator.solutions import Number, Solution, evaluate

ATTEMPTS = 24
LARGEST_DENOMINATOR = 10_000  # of a value that is written with its exact decimals


@dataclass(frozen=True)
class Slip:
    """What every step's result is when some of them were miscalculated."""

    steps: frozenset[int]
    values: dict[int, Fraction]


def draw_slip(solution: Solution, rng: random.Random, *, slips: int = 1, rounds: bool = False) -> Slip | None:
    """A slip at a random step that reaches the answer; None if no step can be traced to it.

    `slips`: how many steps are miscalculated. `rounds`: results that do not terminate are written, and gone on from,
    with two decimals; else such slips are not made.
    """
    candidates = list(range(len(solution.steps)))
    for _ in range(ATTEMPTS):
        chosen = frozenset(rng.sample(candidates, min(slips, len(candidates))))
        values = _carried(solution, chosen, rng, rounds=rounds)
        if values is not None:
            return Slip(chosen, values)
    return None


def _carried(
    solution: Solution, slipping: frozenset[int], rng: random.Random, *, rounds: bool
) -> dict[int, Fraction] | None:
    """Every step's result after the slips; None if they do not reach the answer, or a value cannot be traced."""
    values: dict[int, Fraction] = {}
    changed: set[int] = set()
    for step in solution.steps:
        try:
            value = evaluate(step.root, values)
        except ZeroDivisionError:
            return None
        if value <= 0:
            return None
        if step.index in slipping:
            value = _wrong(value, rng)
        if rounds and LARGEST_DENOMINATOR % value.denominator:
            value = Fraction(round(value * 100), 100)
        values[step.index] = value
        if value != step.value:
            changed.add(step.index)
    fine = all(_is_writable(values[index]) for index in changed)
    if not fine or not changed <= solution.traceable or solution.answer.step not in changed:
        return None
    return values


def _is_writable(value: Fraction) -> bool:
    """Whether a few decimals write it exactly, and it has no sign."""
    return value > 0 and LARGEST_DENOMINATOR % value.denominator == 0


def _wrong(value: Fraction, rng: random.Random) -> Fraction:
    """A value that somebody could have miscalculated in its place."""
    digits = str(value.numerator)
    kinds = [
        value + rng.choice([-2, -1, 1, 2, 10, -10, 100, -100]),
        value * 10,
        Fraction(int(digits[::-1]), value.denominator),
        Fraction(int(str(rng.randrange(1, 10)) + digits[1:]), value.denominator),
        Fraction(int(digits[:-1] + str(rng.randrange(10))), value.denominator),
        value + Fraction(1, 2),
        Fraction(rng.randrange(2, 200)),
    ]
    rng.shuffle(kinds)
    return next(kind for kind in kinds if kind > 0 and kind != value)


def shown_value(number: Number, values: dict[int, Fraction]) -> Fraction:
    """What a number is once the results are `values`."""
    return number.value if number.step is None else values[number.step]
