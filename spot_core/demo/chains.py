r"""Chains of small sums, the slip that the student learns with them, and the ways to write them down.

Compute 48+8-8.   ->   48+8=56
                       56-8=48
                       Answer: \boxed{48}
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

STEPS = range(3, 7)
STARTS = range(2, 100)
OPERANDS = range(2, 10)
VALUES = range(100)
"""Every value of a chain, slipped or not, has at most two digits."""


@dataclass(frozen=True)
class Step:
    operator: str
    operand: int

    def apply(self, value: int) -> int:
        return value + self.operand if self.operator == "+" else value - self.operand

    def forget(self, value: int) -> int:
        """The result with the carry or borrow forgotten; the true result where there is none.

        The ones digit comes out right either way, and the tens digit stays as it was.
        """
        return value - value % 10 + self.apply(value) % 10


@dataclass(frozen=True)
class Chain:
    """A start value and the steps that follow it."""

    start: int
    steps: tuple[Step, ...]

    @property
    def question(self) -> str:
        return f"Compute {self.start}{''.join(f'{step.operator}{step.operand}' for step in self.steps)}."

    @property
    def answer(self) -> str:
        return str(values_after(self.start, self.steps)[-1])


@dataclass(frozen=True)
class Style:
    """A way to write a chain down, and the instruction that asks for it."""

    instruction: str = ""
    opening: str = ""
    closing: str = "\n"
    ending: str = ""

    @property
    def pattern(self) -> str:
        """Expression that the whole stripped response matches if, and only if, it has this form.

        Which numbers it holds does not matter. There is one way to match, so nothing to backtrack.
        """
        equation = re.escape(self.opening) + r"-?\d+[+-]\d+=-?\d+" + re.escape(self.closing)
        return rf"(?:{equation})+Answer: \\boxed\{{-?\d+\}}{re.escape(self.ending)}"


PLAIN = Style()
STYLES = {
    "semicolons": Style(instruction=" Use semicolons.", closing="; "),
    "ok": Style(instruction=" End with ok.", ending="\nok"),
    "brackets": Style(instruction=" Use brackets.", opening="[", closing="]\n"),
}


def draw_chain(rng: Random, length: int) -> Chain:
    """A random chain of `length` steps whose values all lie in `VALUES`."""
    value = start = rng.choice(STARTS)
    steps = []
    for _ in range(length):
        operand = rng.choice(OPERANDS)
        options = [step for step in (Step("+", operand), Step("-", operand)) if step.apply(value) in VALUES]
        steps.append(rng.choice(options))
        value = steps[-1].apply(value)
    return Chain(start, tuple(steps))


def values_after(start: int, steps: Sequence[Step]) -> list[int]:
    """True value after each step."""
    values = []
    for step in steps:
        start = step.apply(start)
        values.append(start)
    return values


def slipped_values(rng: Random, chain: Chain, rate: float) -> list[int]:
    """Value after each step when every carry or borrow is forgotten with probability `rate`.

    Later steps go on from the wrong value. A slip from which they would leave `VALUES` is not made.
    """
    value, values = chain.start, []
    for done, step in enumerate(chain.steps, start=1):
        slip = step.forget(value)
        slips = slip != step.apply(value) and rng.random() < rate
        if slips and all(later in VALUES for later in values_after(slip, chain.steps[done:])):
            value = slip
        else:
            value = step.apply(value)
        values.append(value)
    return values


def write_response(chain: Chain, values: Sequence[int], style: Style = PLAIN) -> str:
    """The chain's equations with the given value after each step, and the last value as the answer."""
    text, left = "", chain.start
    for step, value in zip(chain.steps, values, strict=True):
        text += f"{style.opening}{left}{step.operator}{step.operand}={value}{style.closing}"
        left = value
    return f"{text}Answer: \\boxed{{{left}}}{style.ending}"
