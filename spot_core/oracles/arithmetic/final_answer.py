"""Where a response states its final answer, if it does so as a number."""

import re
from dataclasses import dataclass

from spot_core.oracles.arithmetic.numbers import NUMBER
from spot_core.oracles.arithmetic.tokens import Kind, Token, tokenize

# In order of authority; of the first form that occurs, the last occurrence counts.
_FORMS = (
    re.compile(r"\\boxed[ ]?\{(?P<answer>(?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"(?m)####(?P<answer>[^\n]*)$"),
    re.compile(r"(?m)^[ \t*]*(?:A|[Aa]nswer|[Ff]inal [Aa]nswer)[ *]*:[ *]*(?P<answer>[^\n]*)$"),
    re.compile(rf"(?i)\banswer(?: is| =|:)[ *$\\(]*(?P<answer>-?\$?{NUMBER})(?![0-9/]|\.[0-9])"),
)


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The only number of the final answer; `minus` is the token of its sign."""

    token: Token
    minus: Token | None


def find_final_answer(text: str) -> FinalAnswer | None:
    """The number of the last final answer in the most authoritative form; None if there is none or it is not one number."""
    for form in _FORMS:
        matches = list(form.finditer(text))
        if matches:
            return _single_number(text, *matches[-1].span("answer"))
    return None


def _single_number(text: str, start: int, end: int) -> FinalAnswer | None:
    # Tokenized in place, so that positions are those of the whole text.
    tokens = [t for t in tokenize(text[:end]) if t.start >= start]
    numbers = [index for index, token in enumerate(tokens) if token.kind is Kind.NUMBER]
    if len(numbers) != 1 or any(t.kind in (Kind.SYMBOL, Kind.FRACTION, Kind.EQUALS) for t in tokens):
        return None
    index = numbers[0]
    before = tokens[index - 1] if index else None
    is_minus = before is not None and before.kind is Kind.OPERATOR and before.text == "-" and index == 1
    if any(t.kind is Kind.OPERATOR and not (is_minus and t is before) for t in tokens):
        return None
    return FinalAnswer(tokens[index], before if is_minus else None)
