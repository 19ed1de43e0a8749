"""Where a number of a step comes from: an earlier result, or a number that the question or the text brings in.

A number is the result of an earlier step if it has that result's value and nothing else has. Where that leaves more
than one origin and they disagree, two things may decide: the text is one chain in which every step begins with the
result before it, or there is only one place left where a corrected result can have been used at all. Else nothing
is guessed: CannotCarryError says why.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.givens import CONSTANTS, Givens
from spot_core.oracles.arithmetic.rewriting import CannotCarryError

EQUAL_RESULTS = 32  # how many earlier results of one value an operand is compared with


@dataclass(slots=True)
class Source:
    """A result: the step it is of, what it said, and what it says now.

    `doubtful`: its step, or one that it follows from, does not hold as read, but may be meant otherwise.
    """

    step: int
    old: Rational
    new: Rational
    doubtful: bool = False

    @property
    def changed(self) -> bool:
        """Whether its value is another one now."""
        return self.old != self.new


class Origins:
    """The results and given numbers of a text, as far as it has been read."""

    def __init__(self, givens: Givens, equations: Sequence[Equation], answer: Rational):
        self._in_question = givens.values
        self._brought_in: set[Rational] = set()  # numbers that the text brings in on its way
        # By what the result said; of equal results only the last ones are within reach of a later step.
        self._sources: defaultdict[Rational, deque[Source]] = defaultdict(lambda: deque(maxlen=EQUAL_RESULTS))
        self._is_chain = _is_one_chain(equations, givens.digits)
        self._uses: defaultdict[Rational, list[int]] = defaultdict(list)
        """Steps by the operands of their first expression."""
        for step, equation in enumerate(equations):
            for literal in equation.operands:
                self._uses[literal.written].append(step)
        self._answer = answer

    def add_result(self, source: Source) -> None:
        """A step has this result."""
        self._sources[source.old].append(source)

    def forget_given(self, value: Rational) -> None:
        """The number that the text brought in turned out to be a result."""
        self._brought_in.discard(value)

    def is_given(self, value: Rational) -> bool:
        """Whether the question gives this value, or the text brought it in without calculating it."""
        return value in self._in_question or value in self._brought_in

    def in_question(self, value: Rational) -> bool:
        """Whether the question gives this value."""
        return value in self._in_question

    def of_operand(self, value: Rational, step: int, *, leading: bool) -> Source | None:
        """The earlier result that an operand of this value is; None if it is a given number.

        `leading`: it begins the first expression of its step. Raises CannotCarryError.
        """
        matching = self._sources[value]
        if not matching:
            self._brought_in.add(value)
            return None
        if not any(source.changed for source in matching):
            return matching[-1]
        if len(self._possible(value)) == 1 and value not in CONSTANTS:
            return matching[-1]
        if self._is_chain:
            return matching[-1] if leading else None
        if self._have_one_use(matching):
            return matching[-1]
        raise CannotCarryError(f"{value} may be an earlier result or another number")

    def of_mention(self, value: Rational, written: str) -> Source | None:
        """The changed result that a number in a sentence repeats; None if it repeats none, or one that stayed.

        Raises CannotCarryError.
        """
        matching = self._sources[value]
        if not matching:
            self._brought_in.add(value)
            return None
        if not any(source.changed for source in matching):
            return None
        if len(self._possible(value)) > 1:
            raise CannotCarryError(f"a sentence says {written}, which may be another number than the result")
        return matching[-1]

    def _possible(self, value: Rational) -> set[Rational]:
        """What a number of this value may have to be now."""
        possible = {source.new for source in self._sources[value]}
        return possible | {value} if self.is_given(value) else possible

    def _have_one_use(self, sources: Sequence[Source]) -> bool:
        """Whether these are one result, and only one operand of the text can be it; the answer is not it either."""
        if len({(source.step, source.new) for source in sources}) > 1:
            return False
        value, step = sources[0].old, sources[0].step
        return sum(later > step for later in self._uses[value]) == 1 and value != self._answer


def _is_one_chain(equations: Sequence[Equation], digits: Sequence[Rational]) -> bool:
    """Whether every step begins with the result before it, and the other operands are the question's, in its order."""
    operands: list[Rational] = []
    total: Rational | None = None
    for equation in equations:
        first, *others = equation.operands
        if total is None:
            operands.append(first.written)
        elif first.written != total:
            return False
        operands += [literal.written for literal in others]
        if not equation.results:
            return False
        total = equation.results[-1].written
    rest = iter(digits)
    return all(operand in rest for operand in operands)
