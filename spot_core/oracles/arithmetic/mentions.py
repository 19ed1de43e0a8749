"""Numbers in sentences: they repeat a result, before or after the step that gives it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise, takewhile

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.origins import Origins, Source
from spot_core.oracles.arithmetic.rewriting import CannotCarryError, Edits
from spot_core.oracles.arithmetic.tokens import Kind, Token
from spot_core.oracles.arithmetic.words import PHRASE_WORDS, SAYS

UNREAD = -1  # the step of a result that follows from something that cannot be read
_NO_CALCULATION = (Kind.SYMBOL, Kind.BREAK, Kind.EQUALS)


class Mentions:
    """The numbers of a text that stand in no equation and are not its final answer."""

    def __init__(
        self,
        tokens: Sequence[Token],
        equations: Sequence[Equation],
        taken: Collection[int],
        origins: Origins,
        edits: Edits,
    ):
        """`taken`: starts of the number tokens that are no mentions."""
        self._all_tokens = tokens
        self._index = {token.start: index for index, token in enumerate(tokens)}
        self._equations = equations
        self._origins = origins
        self._edits = edits
        self.tokens = [token for token in tokens if token.kind is Kind.NUMBER and token.start not in taken]
        self._taken = taken
        self._by_value: defaultdict[Rational | None, list[Token]] = defaultdict(list)
        for token in tokens:
            self._by_value[token.value].append(token)

    def follow(self, token: Token) -> None:
        """A number in a sentence follows the result it repeats. Raises CannotCarryError."""
        assert token.value is not None
        if self._ends_unreadable_step(token):
            self._origins.add_result(Source(UNREAD, token.value, token.value, doubtful=True))
            return
        source = self._origins.of_mention(token.value, token.text)
        if source is None:
            return
        if self._is_in_unreadable_step(token):
            raise CannotCarryError(f"a later step that uses {token.text} cannot be read")
        self._edits.write(token, None, source.new)

    def announced(self, step: Equation, old: Rational, new: Rational) -> None:
        """`He has 44 because 20 + 25 = 44`: rewrites what the sentence of a step said before it.

        Raises CannotCarryError where the text said that number before, but it may be another one.
        """
        said = list(takewhile(lambda token: token.start < step.start, self._by_value[old]))
        mentions = [token for token in said if token.start not in self._taken]
        if not mentions or any(literal.written == old for literal in step.operands):
            return  # or it says an operand: `multiplying it by 5: 10 * 5 = 5`
        text = self._edits.text
        line_start = text.rfind("\n", 0, step.start) + 1
        first = max(line_start, text.rfind(". ", line_start, step.start) + 1)
        if len(mentions) < len(said) or said[0].start < first or self._origins.in_question(old):
            if said[-1].start >= first:
                raise CannotCarryError(f"the sentence says {said[-1].text} before the step that gives it")
            return
        for token in said:
            self._edits.write(token, None, new)
        self._origins.forget_given(old)

    def follow_answer(self, after: int, written: Rational, new: Rational) -> None:
        """Sentences after the last step that say the answer say what it is now; it may be rounded from that step.

        Raises CannotCarryError where they may say another number.
        """
        for token in self.tokens:
            if token.value != written or token.start < after or self._edits.touches(token):
                continue
            if self._origins.in_question(written):
                raise CannotCarryError(
                    f"a sentence says {token.text}, which may be another number than the answer"
                )
            self._edits.write(token, None, new)

    def _is_in_unreadable_step(self, token: Token) -> bool:
        """Whether a number stands beside an operator, or to the left of an equals sign, in no readable equation."""
        index = self._index[token.start]
        beside = self._all_tokens[max(0, index - 1) : index + 2]
        if any(other.kind is Kind.OPERATOR for other in beside):
            return True
        for later, following in pairwise(self._all_tokens[index + 1 :]):
            if later.kind is Kind.EQUALS:
                return following.kind is not Kind.OPEN_NOTE and not any(
                    equation.start <= later.start < equation.end or equation.start == following.start
                    for equation in self._equations
                )
            if later.kind is Kind.BREAK:
                return False
        return False

    def _ends_unreadable_step(self, token: Token) -> bool:
        """Whether a number is said to be the value of a calculation that is no readable equation."""
        index = self._index[token.start] - 1
        if index < 0 or not self._says_value(self._all_tokens[index]):
            return False
        seen = set()
        while (index := index - 1) >= 0 and not self._begins_phrase(self._all_tokens[index]):
            seen.add(self._all_tokens[index].kind)
        symbolic = index >= 0 and self._all_tokens[index].kind is Kind.SYMBOL
        return not symbolic and {Kind.NUMBER, Kind.OPERATOR} <= seen

    @staticmethod
    def _says_value(token: Token) -> bool:
        return token.kind is Kind.EQUALS or (token.kind is Kind.WORD and token.text == SAYS)

    @staticmethod
    def _begins_phrase(token: Token) -> bool:
        return token.kind in _NO_CALCULATION or (
            token.kind is Kind.WORD and token.text.lower() in PHRASE_WORDS
        )
