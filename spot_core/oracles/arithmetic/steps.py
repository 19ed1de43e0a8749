"""Correcting one step: its operands follow their origins, its simplifications and results follow its operands."""

from dataclasses import dataclass, field

from sympy import Rational

from spot_core.oracles.arithmetic.expressions import Expression, Literal, Reading, evaluate
from spot_core.oracles.arithmetic.judging import Judgement, Verdict, simplified
from spot_core.oracles.arithmetic.links import Link, links_between
from spot_core.oracles.arithmetic.mentions import Mentions
from spot_core.oracles.arithmetic.numbers import NotComputableError
from spot_core.oracles.arithmetic.origins import Origins, Source
from spot_core.oracles.arithmetic.other_readings import PERCENT_FACTOR
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.rewriting import CannotCarryError, Edits


@dataclass
class _Step:
    """One equation while it is corrected. `values`: its changed numbers by the start of their token.

    `parts`: what its simplifications say that parts of it are; later steps can use them like results.
    `doubtful`: an operand is the result of a step that is not clear.
    """

    number: int
    judgement: Judgement
    values: dict[int, Rational] = field(default_factory=dict)
    expressions: list[Reading] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    parts: list[Source] = field(default_factory=list)
    doubtful: bool = False

    def value(self, root: Expression, *, changed: bool) -> Rational:
        """An expression's value, with the changed numbers or as it was."""
        values = self.values if changed else None
        return evaluate(root, values, percent_is_hundredth=self.judgement.percent_is_hundredth)


class StepCorrector:
    """Goes through the steps of a text in their order, and writes what is wrong in them or has become so."""

    def __init__(self, origins: Origins, edits: Edits, mentions: Mentions):
        self._origins = origins
        self._edits = edits
        self._mentions = mentions
        self._results: dict[int, Source] = {}
        """By the start of their number: a running total goes on from the result itself."""

    def correct(self, number: int, judgement: Judgement) -> list[Source]:
        """The results of step `number`, old and new. Raises CannotCarryError."""
        step = _Step(number, judgement)
        try:
            for member in judgement.equation.members:
                if isinstance(member, Result):
                    self._result(step, member)
                else:
                    self._expression(step, member)
        except NotComputableError as error:
            raise CannotCarryError(str(error)) from error
        unclear = judgement.verdict is Verdict.UNCLEAR and not step.values
        for source in (*step.parts, *step.sources):
            source.doubtful = step.doubtful or unclear
            self._origins.add_result(source)
        return step.sources

    def _expression(self, step: _Step, reading: Reading) -> None:
        before = step.expressions[-1] if step.expressions else None
        links = links_between(before.root, reading.root) if before else None
        if before is None:
            for literal in reading.literals:
                leading = literal is reading.literals[0]
                source = self._results.get(literal.token.start) or self._origins.of_operand(
                    literal.written, step.number, leading=leading
                )
                if source is not None:
                    step.doubtful |= source.doubtful
                    if source.changed:
                        self._write_operand(step, reading, literal, source.new)
        elif links is not None:
            for link in links:
                self._link(step, reading, link)
        else:
            self._rearranged(step, reading, before)
        step.expressions.append(reading)

    def _write_operand(self, step: _Step, reading: Reading, literal: Literal, value: Rational) -> None:
        step.values[literal.token.start] = value
        self._edits.write(literal.token, literal.minus, value, grouped=literal is not reading.literals[0])

    def _link(self, step: _Step, reading: Reading, link: Link) -> None:
        was, now = (step.value(link.part, changed=changed) for changed in (False, True))
        if link.is_copy:
            if was != now:
                factor = self._factor(step, link.literal)
                self._write_operand(step, reading, link.literal, now * factor)
            return
        said = simplified(link.literal)
        factor = self._factor(step, link.literal)
        new = self._said(step, said, was * factor, now * factor)
        step.parts.append(Source(step.number, said.written, new))
        if new != said.written:
            step.values[link.literal.token.start] = new

    def _rearranged(self, step: _Step, reading: Reading, before: Reading) -> None:
        """Another form of the expression before: its numbers are those of that one, or results of earlier steps."""
        for literal in reading.literals:
            same = [
                step.values.get(other.token.start, other.written)
                for other in before.literals
                if other.written == literal.written
            ]
            if len(set(same)) > 1:
                raise CannotCarryError(f"{literal.token.text} may be more than one number of its step")
            new = same[0] if same else self._elsewhere(step, literal)
            if new != literal.written:
                self._write_operand(step, reading, literal, new)
        agree = step.value(before.root, changed=True) == step.value(reading.root, changed=True)
        if step.values and not agree:
            raise CannotCarryError("a simplification in the middle of a step cannot be carried")

    def _elsewhere(self, step: _Step, literal: Literal) -> Rational:
        source = self._origins.of_operand(literal.written, step.number, leading=False)
        return literal.written if source is None else source.new

    def _result(self, step: _Step, result: Result) -> None:
        factor = self._factor(step, result.literal)
        roots = [expression.root for expression in step.expressions]
        # A result may be rounded from the exact expression, though a rounded one stands between.
        base = next(
            (root for root in reversed(roots) if result.says(step.value(root, changed=False) * factor)),
            roots[-1],
        )
        was, now = (step.value(base, changed=changed) * factor for changed in (False, True))
        new = self._said(step, result, was, now)
        source = Source(step.number, result.written, new)
        step.sources.append(source)
        self._results[result.literal.token.start] = source

    def _factor(self, step: _Step, literal: Literal) -> int:
        return PERCENT_FACTOR if literal.percent and step.judgement.percent_is_hundredth else 1

    def _said(self, step: _Step, result: Result, was: Rational, now: Rational) -> Rational:
        """What a result says now: it is written anew if it was wrong, or what it follows from has changed."""
        right = result.says(was)
        wrong = step.judgement.verdict is Verdict.FALSE and not right
        if not wrong and (was == now or not right):
            return result.written
        new = self._edits.write_result(result, now, was)
        if new != result.written:
            self._mentions.announced(step.judgement.equation, result.written, new)
        return new
