"""Where a response states its final answer, if it does so as a number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.reading import UnreadableError, read_expression
from spot_core.oracles.arithmetic.results import Result, as_result
from spot_core.oracles.arithmetic.tokens import Kind, Token, tokenize

_BOLD = r"[*_ ]*"
# In order of authority; of the first form that occurs, the last occurrence counts.
_FORMS = (
    re.compile(r"\\(?:boxed|fbox)[ ]?\{(?P<answer>(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"),
    re.compile(r"(?m)####(?P<answer>[^\n]*)$"),
    re.compile(r"<answer>(?P<answer>[^<]*)</answer>"),
    re.compile(
        rf"(?m)^[ \t#>-]*{_BOLD}(?:A|(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer){_BOLD}:{_BOLD}\n?(?P<answer>[^\n]*)$"
    ),
    re.compile(r"(?i)\banswer(?: is| =|:)(?P<answer>[^\n]*?)(?:\.(?![0-9])|$|\n)"),
)
_ENDED = re.compile(r"[0-9.!%)\]}*$][ \t\n]*\Z")  # a text that was cut off has no answer
_AROUND = (Kind.WORD, Kind.BREAK, Kind.PERCENT, Kind.OPEN_BRACE, Kind.CLOSE_BRACE, Kind.OPEN, Kind.CLOSE)


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The only number of the final answer."""

    result: Result

    @property
    def token(self) -> Token:
        """Its first number."""
        return self.result.literal.token

    @property
    def starts(self) -> list[int]:
        """Where its numbers start: a fraction has two."""
        return [literal.token.start for literal in self.result.reading.literals]


def find_final_answer(text: str, last_step: Equation | None = None) -> FinalAnswer | None:
    """The number of the last final answer in the most authoritative form; None if that is not one number.

    A text without any such form ends with its answer, if its last number is what its last step says.
    """
    for form in _FORMS:
        matches = list(form.finditer(text))
        if matches:
            start, end = matches[-1].span("answer")
            # Tokenized in place, so that positions are those of the whole text.
            return _single_number([token for token in tokenize(text[:end]) if token.start >= start])
    if last_step is None or not _ENDED.search(text):
        return None
    return _closing_number(tokenize(text), last_step)


def _single_number(tokens: Sequence[Token]) -> FinalAnswer | None:
    first = next((i for i, t in enumerate(tokens) if t.kind not in _AROUND), None)
    if first is None:
        return None
    try:
        reading = read_expression(tokens, first)
    except UnreadableError:
        return None
    result = as_result(reading)
    if result is None and reading.is_number:
        result = Result(reading)
    rest = tokens[first + reading.tokens_read :]
    if result is None or any(token.kind not in _AROUND for token in rest):
        return None
    return FinalAnswer(result)


def _closing_number(tokens: Sequence[Token], last_step: Equation) -> FinalAnswer | None:
    numbers = [index for index, token in enumerate(tokens) if token.kind is Kind.NUMBER]
    if not numbers or not last_step.results:
        return None
    index = numbers[-1]
    signed = index > 0 and tokens[index - 1].text == "-" and tokens[index - 1].kind is Kind.OPERATOR
    answer = _single_number(tokens[index - signed :])
    said = {result.written for result in last_step.results}
    return answer if answer is not None and answer.result.written in said else None
