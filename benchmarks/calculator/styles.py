"""The ways in which language models write a solution; each writes the same pieces, with any results."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from benchmarks.calculator.slips import shown_value
from benchmarks.calculator.solutions import Number, Operation, Solution, Step

_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_LATEX = {"+": "+", "-": "-", "*": r"\times", "/": r"\div"}
_SIGNS = {"+": "+", "-": "-", "*": "×", "/": "÷"}


def decimal(value: Fraction, like: str) -> str:
    """A value that terminates, with separators and filling zeros if `like` has them."""
    assert value >= 0
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    fraction = like.partition(".")[2]
    if fraction.endswith("0"):
        places = max(places, len(fraction))
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    whole, rest = (digits[:-places], digits[-places:]) if places else (digits, "")
    whole = f"{int(whole):,}" if "," in like else whole
    if like.startswith(".") and whole == "0":
        whole = ""
    return f"{whole}.{rest}" if rest else whole


@dataclass
class _Writer:
    """A style: how steps and the answer are written. `values` are the results to write."""

    values: dict[int, Fraction]
    number: Callable[[str], str] = field(default=lambda digits: digits)

    def shown(self, number: Number) -> str:
        return decimal(shown_value(number, self.values), number.text)

    def result(self, step: Step) -> str:
        return decimal(self.values[step.index], step.shown)

    def left(self, step: Step) -> str:
        return "".join(part if isinstance(part, str) else self.shown(part) for part in step.written).rstrip()

    def formula(self, root: Operation | Number, signs: dict[str, str], spaces: str = " ") -> str:
        if isinstance(root, Number):
            return self.shown(root)
        left, right = (self.formula(side, signs, spaces) for side in (root.left, root.right))
        return f"{left}{spaces}{signs[root.operator]}{spaces}{right}"

    def fractions(self, root: Operation | Number) -> str:
        """LaTeX with divisions as fractions."""
        if isinstance(root, Number):
            return self.shown(root)
        left, right = self.fractions(root.left), self.fractions(root.right)
        return (
            rf"\frac{{{left}}}{{{right}}}"
            if root.operator == "/"
            else f"{left} {_LATEX[root.operator]} {right}"
        )


def _money(step: Step) -> str:
    return "$" if step.money else ""


_PLAIN = {sign: sign for sign in "+-*/"}
STEPS: dict[str, Callable[[_Writer, Step], str]] = {
    "annotated": lambda w, s: (
        f"{w.left(s)} = {_money(s)}<<{w.formula(s.root, _PLAIN, '')}={decimal(w.values[s.index], '')}>>{w.result(s)}"
    ),
    "float annotated": lambda w, s: (
        f"{w.left(s)} = {_money(s)}<<{w.formula(s.root, _PLAIN, '')}={float(w.values[s.index])}>>{w.result(s)}"
    ),
    "plain": lambda w, s: f"{w.left(s)} = {_money(s)}{w.result(s)}",
    "tight": lambda w, s: f"{w.formula(s.root, _PLAIN, '')}={_money(s)}{w.result(s)}",
    "crosses": lambda w, s: f"{w.formula(s.root, _SIGNS)} = {_money(s)}{w.result(s)}",
    "markdown": lambda w, s: f"**{w.formula(s.root, _SIGNS)} = {_money(s)}{w.result(s)}**",
    "inline": lambda w, s: rf"\( {w.formula(s.root, _LATEX)} = {w.result(s)} \)",
    "dollars": lambda w, s: rf"${w.formula(s.root, _LATEX)} = {w.result(s)}$",
    "fractions": lambda w, s: rf"\({w.fractions(s.root)} = {w.result(s)}\)",
    "display": lambda w, s: f"\n\\[\n\\text{{Result}} = {w.fractions(s.root)} = {w.result(s)}\n\\]\n",
    "aligned": lambda w, s: (
        f"\n\\begin{{align*}}\n&{w.formula(s.root, _LATEX)} \\\\\n&= {w.result(s)}\n\\end{{align*}}\n"
    ),
    "is": lambda w, s: f"{w.formula(s.root, _WORDS)} is {_money(s)}{w.result(s)}",
    "equals": lambda w, s: f"{w.formula(s.root, _WORDS)} equals {_money(s)}{w.result(s)}",
    "named": lambda w, s: (
        f"Amount {chr(65 + s.index % 26)} = {w.formula(s.root, _PLAIN)} = {_money(s)}{w.result(s)}"
    ),
}
ANSWERS = [
    "#### {}",
    "A: {}",
    "The answer is {}.",
    "**Answer:** {}",
    "So the final answer is \\boxed{{{}}}.",
    "Therefore, the answer is \\(\\boxed{{{}}}\\).",
    "**Final Answer: {}**",
]


def write(solution: Solution, values: dict[int, Fraction] | None, style: str, answer: str) -> str:
    """The solution in a style of `STEPS` and a form of `ANSWERS`; `values`: the results of its steps (None: right)."""
    writer = _Writer(values or {step.index: step.value for step in solution.steps})
    pieces = []
    for piece in solution.pieces:
        if isinstance(piece, str):
            pieces.append(piece)
        else:
            pieces.append(writer.shown(piece) if isinstance(piece, Number) else STEPS[style](writer, piece))
    return "".join(pieces).rstrip() + "\n" + answer.format(writer.shown(solution.answer))


def any_style(rng: random.Random) -> tuple[str, str]:
    """A random style, and a random form of the answer."""
    return rng.choice(list(STEPS)), rng.choice(ANSWERS)
