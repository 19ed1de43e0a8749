"""Correcting the wrong steps of a written chain and carrying the new values through the later ones, by data flow.

Which number follows which result is for `origins` to say; what it cannot say is not guessed (CannotCarryError).
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise, takewhile

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation, Verdict, number_tokens
from spot_core.oracles.arithmetic.expressions import evaluate
from spot_core.oracles.arithmetic.final_answer import FinalAnswer, find_final_answer
from spot_core.oracles.arithmetic.finding import equations_in
from spot_core.oracles.arithmetic.givens import given_values
from spot_core.oracles.arithmetic.numbers import (
    NotComputableError,
    displayed,
    is_written_form_of,
    rounding_mode,
    style_of,
)
from spot_core.oracles.arithmetic.origins import Origins, Source
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.rewriting import CannotCarryError, Edits
from spot_core.oracles.arithmetic.tokens import Kind, Token, tokenize


class NothingWrongError(ValueError):
    """Every readable step of the text is right."""


def corrected(text: str, question: str) -> str:
    """`text` with its first wrong step and all that follows from it put right, and nothing else touched.

    Raises NothingWrongError if no readable step is wrong, CannotCarryError if the edit would not be coherent:
    every equation of the edited text must hold, and its last value must be its final answer.
    """
    tokens = tokenize(text)
    equations = equations_in(tokens)
    if not equations:
        raise CannotCarryError("no arithmetic step was found")
    if all(equation.verdict is not Verdict.FALSE for equation in equations):
        raise NothingWrongError("no arithmetic step is wrong")
    answer = find_final_answer(text)
    if answer is None:
        raise CannotCarryError("no final answer that is one number was found")
    walk = _Walk(text, tokens, equations, answer, given_values(question))
    edited = walk.run()
    _verify(edited, expected_equations=len(equations))
    return edited


def _verify(edited: str, expected_equations: int) -> None:
    equations = equations_in(tokenize(edited))
    if len(equations) != expected_equations:
        raise CannotCarryError("the edited text reads differently")
    for equation in equations:
        if equation.verdict is not Verdict.TRUE:
            raise CannotCarryError(f"after the edit {edited[equation.start : equation.end]!r} does not hold")
    answer = find_final_answer(edited)
    assert answer is not None and answer.token.value is not None, (
        "an edit of numbers cannot remove the answer"
    )
    value = -answer.token.value if answer.minus else answer.token.value
    decimals = style_of(answer.token.text).decimals
    if not any(is_written_form_of(value, decimals, result.written) for result in equations[-1].results):
        raise CannotCarryError("after the edit the final answer is not the value of the last step")


class _Walk:
    """One pass over the text, in its order: each number is an operand, a result, the answer, or a mention."""

    def __init__(
        self,
        text: str,
        tokens: list[Token],
        equations: list[Equation],
        answer: FinalAnswer,
        question_values: Counter[Rational],
    ):
        self.edits = Edits(text)
        self.tokens = tokens
        self.equations = equations
        self.answer = answer
        self.in_equation = {token.start for equation in equations for token in number_tokens(equation)}
        self.tokens_by_value: defaultdict[Rational | None, list[Token]] = defaultdict(list)
        for token in tokens:
            self.tokens_by_value[token.value].append(token)
        self.origins = Origins(question_values)
        self.last_results: list[Source] = []

    def run(self) -> str:
        """The edited text. Raises CannotCarryError."""
        events: list[tuple[int, Callable[[], None]]] = [
            (equation.start, lambda step=step, equation=equation: self._equation(step, equation))
            for step, equation in enumerate(self.equations)
        ]
        events += [
            (token.start, lambda token=token: self._mention(token))
            for token in self.tokens
            if self._is_mention(token) and token.start != self.answer.token.start
        ]
        for _, handle in sorted(events, key=lambda event: event[0]):
            handle()
        self._final_answer()
        return self.edits.apply()

    def _is_mention(self, token: Token) -> bool:
        return token.kind is Kind.NUMBER and token.start not in self.in_equation

    def _equation(self, step: int, equation: Equation) -> None:
        values: dict[int, Rational] = {}
        operand_changed = False
        for expression in equation.expressions:
            taken: list[Source] = []
            for position, literal in enumerate(expression.literals):
                source = self.origins.of_operand(
                    literal.written,
                    step,
                    leading=position == 0,
                    first=expression is equation.expressions[0],
                    taken=taken,
                )
                if source is None:
                    continue
                taken.append(source)
                if source.changed:
                    operand_changed = True
                    values[literal.token.start] = source.new
                    self.edits.write(literal.token, literal.minus, source.new, grouped=position > 0)
            for source in taken:
                source.used = True
        try:
            before, after = equation.exact_results(), equation.exact_results(values)
        except NotComputableError as error:
            raise CannotCarryError(str(error)) from error
        if operand_changed and equation.verdict is Verdict.UNCLEAR:
            raise CannotCarryError("a later step that uses a corrected value is not clear")
        self._check_members_agree(equation, values)
        self.last_results = []
        for result, was_exact, exact in zip(equation.results, before, after, strict=True):
            new = result.written
            is_wrong = equation.verdict is Verdict.FALSE and not result.says(was_exact)
            if operand_changed or is_wrong:
                new = self._write_result(equation, result, exact, was_exact)
            source = Source(step, result.written, new)
            self.origins.add_result(source)
            self.last_results.append(source)

    def _write_result(
        self, equation: Equation, result: Result, exact: Rational, was_exact: Rational
    ) -> Rational:
        if exact == was_exact and result.says(was_exact):
            return result.written
        new = self.edits.write_result(result, exact, was_exact)
        if new != result.written:
            self._rewrite_announcement(equation, result, new)
        return new

    def _rewrite_announcement(self, equation: Equation, result: Result, new: Rational) -> None:
        """`He has 44 because 20 + 25 = 44`: a sentence may say a wrong result before the step that gives it."""
        line_start = self.edits.text.rfind("\n", 0, equation.start) + 1
        first = max(line_start, self.edits.text.rfind(". ", line_start, equation.start) + 1)
        same = self.tokens_by_value[result.written]
        if self.origins.in_question(result.written) or (same and same[0].start < first):
            return
        said = list(takewhile(lambda token: token.start < equation.start, same))
        if not all(self._is_mention(token) for token in said):
            return
        for token in said:
            self.edits.write(token, None, new)
        self.origins.drop_given(result.written)

    def _check_members_agree(self, equation: Equation, values: dict[int, Rational]) -> None:
        """After a carry all expressions of a chain must still be one value, else a middle one went stale."""
        exact = {
            evaluate(e.root, values, percent_is_hundredth=equation.percent_is_hundredth)
            for e in equation.expressions
        }
        if values and len(exact) > 1:
            raise CannotCarryError("a simplification in the middle of a step cannot be carried")

    def _mention(self, token: Token) -> None:
        """A number in a sentence: follows the result it repeats."""
        assert token.value is not None
        source = self.origins.of_mention(token.value, token.text)
        if source is None:
            return
        if self._starts_unreadable_step(token):
            raise CannotCarryError(f"a later step that uses {token.text} cannot be read")
        self.edits.write(token, None, source.new)

    def _starts_unreadable_step(self, token: Token) -> bool:
        """Whether a number stands to the left of an equals sign in a phrase that is no readable equation."""
        for later, following in pairwise(self.tokens[self.tokens.index(token) + 1 :]):
            if later.kind is Kind.EQUALS:
                return following.kind is not Kind.OPEN_NOTE and not any(
                    equation.start <= later.start < equation.end or equation.start == following.start
                    for equation in self.equations
                )
            if later.kind is Kind.BREAK:
                return False
        return False

    def _final_answer(self) -> None:
        """The answer follows the last step, of which it must be the value."""
        token, minus = self.answer.token, self.answer.minus
        assert token.value is not None
        written = -token.value if minus else token.value
        decimals = style_of(token.text).decimals
        same = [source for source in self.last_results if source.old == written]
        last = self.last_results[-1] if self.last_results else None
        if same:
            new = same[-1].new
        elif last is not None and is_written_form_of(written, decimals, last.old):
            mode = rounding_mode(written, decimals, last.old)
            new, _ = displayed(last.new, style_of(token.text), mode)
        else:
            raise CannotCarryError("the final answer is not the value of the last step")
        if new == written:
            raise CannotCarryError("the corrected value does not reach the final answer")
        if token.start not in self.in_equation:
            self.edits.write(token, minus, new)
