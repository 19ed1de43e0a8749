"""Where a number of a step comes from: an earlier result, or the question.

An operand is the result of an earlier step if it has that result's value; where the question gives the same
value too, only the leading operand of the very next step is (`19 + 4 = 19. Then, 19 - 7 = 6`). Where more than
one origin is left and they disagree, nothing is guessed: CannotCarryError says why.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass

from sympy import Rational

from spot_core.oracles.arithmetic.rewriting import CannotCarryError

EQUAL_RESULTS = 32  # how many earlier results of one value an operand is compared with


@dataclass(slots=True)
class Source:
    """A result: what it said, what it says now, and whether a later step has used it."""

    step: int
    old: Rational
    new: Rational
    used: bool = False

    @property
    def changed(self) -> bool:
        """Whether its value is another one now."""
        return self.old != self.new


class Origins:
    """The results and given numbers of a text, as far as it has been read."""

    def __init__(self, question_values: Counter[Rational]):
        self._question_values = question_values
        self._given_uses: Counter[Rational] = Counter()  # of values that a changed result had as well
        self._givens = set(question_values)  # and every number that the text brings in on its way
        # By what the result said; of equal results only the last ones are within reach of a later step.
        self._sources: defaultdict[Rational, deque[Source]] = defaultdict(lambda: deque(maxlen=EQUAL_RESULTS))

    def add_result(self, source: Source) -> None:
        """A step has this result."""
        self._sources[source.old].append(source)

    def drop_given(self, value: Rational) -> None:
        """The number turned out to be a result."""
        self._givens.discard(value)

    def in_question(self, value: Rational) -> bool:
        """Whether the question gives this value."""
        return value in self._question_values

    def of_operand(
        self, value: Rational, step: int, *, leading: bool, first: bool, taken: list[Source]
    ) -> Source | None:
        """The earlier result that an operand of this value is; None if it is a given number.

        `first`: it stands in the first expression of its equation, `leading`: it begins its expression; `taken`:
        the origins of the operands before it. Raises CannotCarryError.
        """
        matching = self._sources[value]
        if not matching:
            self._givens.add(value)
            return None
        if not any(source.changed for source in matching):
            return matching[-1]
        is_given = value in self._givens
        if not is_given and len({source.new for source in matching}) == 1:
            return matching[-1]
        previous = [s for s in matching if s.step == step - 1 and s not in taken]
        if previous and (leading or not is_given):
            return previous[-1]
        fresh = [s for s in matching if not s.used and s not in taken]
        if is_given:
            # Each number of the question is used once; what is used more often may as well be the result.
            self._given_uses[value] += first
            if (
                any(source.changed for source in fresh)
                or self._given_uses[value] > self._question_values[value]
            ):
                raise CannotCarryError(f"{value} may be an earlier result or a number of the question")
            return None
        pool = fresh or matching
        if len({source.new for source in pool}) > 1:
            raise CannotCarryError(f"{value} is the result of more than one earlier step")
        return pool[-1]

    def of_mention(self, value: Rational, written: str) -> Source | None:
        """The changed result that a number in a sentence repeats; None if it repeats none, or one that stayed.

        Raises CannotCarryError.
        """
        matching = self._sources[value]
        if not matching:
            self._givens.add(value)
            return None
        if not any(source.changed for source in matching):
            return None
        if value in self._givens or len({source.new for source in matching}) > 1:
            raise CannotCarryError(f"a sentence says {written}, which may be another number than the result")
        return matching[-1]
