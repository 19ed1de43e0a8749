"""Correcting the wrong steps of a written chain and carrying the new values through the later ones, by data flow.

Which number follows which result is for `origins` to say; what it cannot say is not guessed (CannotCarryError).
"""

from collections.abc import Callable

from sympy import Rational

from spot_core.oracles.arithmetic.equations import number_tokens
from spot_core.oracles.arithmetic.final_answer import FinalAnswer, find_final_answer
from spot_core.oracles.arithmetic.finding import equations_in
from spot_core.oracles.arithmetic.givens import Givens, givens_of
from spot_core.oracles.arithmetic.judging import Judgement, Verdict, judge_all
from spot_core.oracles.arithmetic.mentions import Mentions
from spot_core.oracles.arithmetic.numbers import displayed, is_written_form_of, rounding_mode, style_of
from spot_core.oracles.arithmetic.origins import Origins, Source
from spot_core.oracles.arithmetic.rewriting import CannotCarryError, Edits
from spot_core.oracles.arithmetic.steps import StepCorrector
from spot_core.oracles.arithmetic.tokens import Token, tokenize


class NothingWrongError(ValueError):
    """Every readable step of the text is right."""


def corrected(text: str, question: str) -> str:
    """`text` with its wrong steps and all that follows from them put right, and nothing else touched.

    Raises NothingWrongError if no readable step is wrong, CannotCarryError if the edit would not be coherent: no
    equation of the edited text may be wrong, those it touched must hold, and the answer must be a step's value.
    """
    tokens, givens = tokenize(text), givens_of(question)
    judgements = judge_all(equations_in(tokens), text, question)
    if not judgements:
        raise CannotCarryError("no arithmetic step was found")
    if all(judgement.verdict is not Verdict.FALSE for judgement in judgements):
        raise NothingWrongError("no arithmetic step is wrong")
    if any(judgement.misprinted for judgement in judgements):
        raise CannotCarryError("of one step either an operand or the result is wrong")
    answer = find_final_answer(text, judgements[-1].equation)
    if answer is None:
        raise CannotCarryError("no final answer that is one number was found")
    edits = _Walk(text, tokens, judgements, answer, givens).run()
    edited = edits.apply()
    _verify(edited, question, judgements, edits)
    return edited


def _verify(edited: str, question: str, before: list[Judgement], edits: Edits) -> None:
    after = judge_all(equations_in(tokenize(edited)), edited, question)
    if len(after) != len(before):
        raise CannotCarryError("the edited text reads differently")
    for old, new in zip(before, after, strict=True):
        touched = any(old.equation.start <= start < old.equation.end for start, _ in edits.spans)
        worse = old.verdict is Verdict.TRUE or touched or new.verdict is Verdict.FALSE
        if worse and new.verdict is not Verdict.TRUE:
            equation = new.equation
            raise CannotCarryError(f"after the edit {edited[equation.start : equation.end]!r} does not hold")


class _Walk:
    """One pass over the text, in its order: each number is an operand, a result, the answer, or a mention."""

    def __init__(
        self,
        text: str,
        tokens: list[Token],
        judgements: list[Judgement],
        answer: FinalAnswer,
        givens: Givens,
    ):
        equations = [judgement.equation for judgement in judgements]
        in_equations = {token.start for equation in equations for token in number_tokens(equation)}
        self.judgements = judgements
        self.answer = answer
        self.answer_is_result = answer.token.start in in_equations
        self.edits = Edits(text)
        self.origins = Origins(givens, equations, answer.result.written)
        self.mentions = Mentions(
            tokens, equations, in_equations | set(answer.starts), self.origins, self.edits
        )
        self.steps = StepCorrector(self.origins, self.edits, self.mentions)
        self.sources: list[Source] = []

    def run(self) -> Edits:
        """The edits. Raises CannotCarryError."""
        events: list[tuple[int, Callable[[], None]]] = [
            (judgement.equation.start, lambda step=step, judgement=judgement: self._step(step, judgement))
            for step, judgement in enumerate(self.judgements)
        ]
        events += [
            (token.start, lambda token=token: self.mentions.follow(token)) for token in self.mentions.tokens
        ]
        for _, handle in sorted(events, key=lambda event: event[0]):
            handle()
        self._final_answer()
        return self.edits

    def _step(self, step: int, judgement: Judgement) -> None:
        self.sources += self.steps.correct(step, judgement)

    def _final_answer(self) -> None:
        """The answer follows the last step of which it is the value."""
        result = self.answer.result
        written = result.written
        last_step = len(self.judgements) - 1
        last = [source for source in self.sources if source.step == last_step]
        same = [source for source in last if source.old == written]
        if any(source.doubtful for source in same or last):
            raise CannotCarryError("the final answer follows from a step that is not clear")
        if same:
            new = same[-1].new
        elif last and result.fraction is None and is_written_form_of(written, result.decimals, last[-1].old):
            style = style_of(result.literal.token.text)
            mode = rounding_mode(written, style.decimals, last[-1].old)
            new, _ = displayed(last[-1].new, style, mode)
        else:
            new = self._earlier_step(written)
        if new == written:
            raise CannotCarryError("the corrected value does not reach the final answer")
        if not self.answer_is_result:
            self.edits.write_result(result, new, written)
        self.mentions.follow_answer(self.judgements[-1].equation.end, written, new)

    def _earlier_step(self, written: Rational) -> Rational:
        """The value of an earlier step that the answer repeats: the last steps may be a check, or an aside."""
        sources = [source for source in self.sources if source.old == written]
        values = {source.new for source in sources}
        if any(source.doubtful for source in sources):
            raise CannotCarryError("the final answer follows from a step that is not clear")
        if not values:
            raise CannotCarryError("the final answer is not the value of the last step")
        if len(values) > 1 or self.origins.in_question(written):
            raise CannotCarryError("the final answer may be the value of more than one step")
        return values.pop()
