r"""The calculator: an Oracle that recomputes written chains of arithmetic, exactly and for nothing.

    48+8=46                        48+8=56
    46-8=38               ->       56-8=48
    Answer: \boxed{38}             Answer: \boxed{48}

It reads equations `a op b = c` of whole numbers with + - * / (and running totals, `5 + 3 = 8 + 2 = 10`), corrects the
wrong results, and carries the new values through the later steps into the answer in `\boxed{}`. It never sees the gold
answer and never guesses: a response with a calculation that it cannot read (decimals, units, brackets, variables), or
with a number that may be one thing or another, gets no proposal.
"""

import operator
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from spot_core.oracles.base import Failure, Proposal

MAX_DIGITS = 40
"""Digits of a written number, and of a computed numerator or denominator."""
MAX_OPERANDS = 20
"""Of one expression."""
MAX_EQUATIONS = 200
"""Of one response."""
SMALL_NUMBERS = frozenset(map(Fraction, range(11)))
"""Numbers that steps use although nothing before gave them."""

Kind = Literal["number", "operator", "equals", "symbol", "word", "break", "other"]
Verdict = Literal["right", "wrong", "unclear", "operand"]


class NoCorrectionError(ValueError):
    """There is no correction: no step is wrong (`unchanged`), or it would take a guess (`unparseable`)."""

    def __init__(self, reason: str, status: Literal["unchanged", "unparseable"] = "unparseable") -> None:
        super().__init__(reason)
        self.status: Literal["unchanged", "unparseable"] = status


class CalculatorOracle:
    """Deterministic, so it is asked once."""

    name = "calculator"
    attempts = 1

    async def propose(self, failure: Failure, *, earlier: Sequence[str], attempt: int) -> list[Proposal]:
        """The corrected response; `unchanged` if no step is wrong, `unparseable` if it cannot be repaired."""
        try:
            return [Proposal(text=correct(failure.response, failure.question))]
        except NoCorrectionError as reason:
            return [Proposal(text=None, status=reason.status, reason=str(reason))]


def correct(response: str, question: str) -> str:
    """The response with its wrong results, and the numbers that follow from them, replaced.

    Raises:
        NoCorrectionError: no step is wrong, or the correction would take a guess.
    """
    given = {token.value for token in tokenize(question) if token.value is not None}
    text = _read(response)
    if not text.equations:
        raise NoCorrectionError("no arithmetic step was found")
    if len(text.equations) > MAX_EQUATIONS:
        raise NoCorrectionError(f"there are more than {MAX_EQUATIONS} arithmetic steps")
    verdicts = _judge(text.equations, given)
    if "wrong" not in verdicts:
        raise NoCorrectionError("no arithmetic step is wrong", "unchanged")
    if "operand" in verdicts:
        raise NoCorrectionError("of one step either an operand or the result is wrong")
    if text.answer is None:
        raise NoCorrectionError("no final answer that is one number was found")
    if text.unread is not None:
        raise NoCorrectionError(f"a calculation with {text.unread!r} cannot be read")
    if other := _OTHER_NUMBERS.search(f"{question}\n{response}"):
        raise NoCorrectionError(f"{other[0]!r} gives or changes a number in words")
    try:
        changes = _carry(text, text.answer, verdicts, given)
    except ArithmeticError as error:
        raise NoCorrectionError("the new value of a step cannot be computed") from error
    if "unclear" in verdicts:
        raise NoCorrectionError("a step that looks wrong may be meant in another way")
    corrected = _rewrite(response, changes)
    after = _read(corrected)
    if after.unread is not None or _judge(after.equations, given) != ["right"] * len(verdicts):
        raise NoCorrectionError("the corrected response would not hold")
    return corrected


@dataclass(frozen=True, slots=True)
class Token:
    """`text[start:end]`; `value` is that of a number, operators are one of `+-*/^`.

    equals: `=`, `≈`, and the `>>` of GSM8K's annotations. symbol: a variable, a function, a number with letters.
    break: the end of a phrase. other: what no equation of plain numbers contains.
    """

    kind: Kind
    text: str
    start: int
    end: int
    value: Fraction | None = None


_NUMBER = r"(?>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_BULLET = r"(?m:^)[ \t]*(?:[-*+•]|\d{1,2}[.)]|\#+)[ \t]+"
_LABEL = r"(?<![A-Za-z])(?i:step|part|case|option|question) ?\(?\d+\)?(?![\d.,]*\d)"
# The first pattern that matches wins; None: dropped.
_PATTERNS: tuple[tuple[Kind | None, str], ...] = (
    ("break", rf"{_BULLET}|{_LABEL}"),
    ("number", rf"{_NUMBER}(?![A-Za-z_]|[,:]\d)"),
    ("symbol", rf"{_NUMBER}[\w,:.]*\w|[A-Za-z]+[\d_]\w*|[A-Za-z]+(?=\()|\\[dt]?frac(?![A-Za-z])"),
    ("other", r"[<>!:=≤≥≠]=+|=>|=<(?!<)|<<?|>(?!>)|…|\.{2,}|[?!]|\\?%"),
    ("equals", r"=|>>|≈|\\approx(?![A-Za-z])|(?<![A-Za-z])(?:is equal to|equals)(?![A-Za-z])"),
    (None, r"\*\*|__|`|\\?[$€£&]|\\[(),;: ]|\\\[|\\left|\\right|\\f?boxed ?\{|[ \t]+"),
    ("operator", r"[-+*/^×·÷−–]|\\(?:times|cdot|div)(?![A-Za-z])|(?<=[\d ])[xX](?= ?\$?\d)"),
    ("word", r"\\(?:text|textbf|mathrm|mbox)\{[^{}]*\}|[A-Za-z]{2,}(?:[-'’][A-Za-z]+)*|[aAI](?![A-Za-z])"),
    ("symbol", r"[A-Za-z]"),
    ("break", r"[\n\r;,.:\[\]\"“”—→}]|\\\\|\\\]"),
    ("other", r"\\[A-Za-z]*|."),
)
_TOKEN = re.compile("|".join(f"({pattern})" for _, pattern in _PATTERNS), re.DOTALL)
_OPERATORS = {
    **dict.fromkeys((r"\times", r"\cdot", "×", "·", "x", "X"), "*"),
    **dict.fromkeys((r"\div", "÷"), "/"),
    **dict.fromkeys("−–", "-"),
}


def tokenize(text: str) -> list[Token]:
    """The tokens of a text without spaces, currency signs and markup; the last one is an empty break."""
    tokens = []
    for match in _TOKEN.finditer(text):
        assert match.lastindex is not None
        kind, written, value = _PATTERNS[match.lastindex - 1][0], match.group(), None
        if kind == "number":
            digits = written.replace(",", "")
            kind, value = (kind, Fraction(digits)) if len(digits) <= MAX_DIGITS else ("symbol", None)
        if kind is not None:
            written = _OPERATORS.get(written, written) if kind == "operator" else written
            tokens.append(Token(kind, written, match.start(), match.end(), value))
    return [*tokens, Token("break", "", len(text), len(text))]


@dataclass(frozen=True, slots=True)
class Number:
    """A written number with its sign."""

    text: str
    start: int
    end: int
    value: Fraction


@dataclass(frozen=True, slots=True)
class Expression:
    """`numbers[0] operators[0] numbers[1] …`; with one number, no operator."""

    numbers: tuple[Number, ...]
    operators: tuple[str, ...]

    def value(self, changed: Mapping[Number, Fraction] | None = None) -> Fraction:
        """The exact value; `changed` has values that replace those of numbers.

        Raises:
            ArithmeticError: it divides by zero, has a power, or is too long.
        """
        values = [(changed or {}).get(number, number.value) for number in self.numbers]
        total, term = Fraction(0), values[0]
        for sign, value in zip(self.operators, values[1:], strict=True):
            if sign in "+-":
                total, term = total + term, value if sign == "+" else -value
            else:
                term = _combine(sign, term, value)
        return total + term


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = results[0] = results[1] …`."""

    left: Expression
    results: tuple[Number, ...]


_FUNCTIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def _combine(sign: str, left: Fraction, right: Fraction) -> Fraction:
    if sign not in _FUNCTIONS:
        raise ArithmeticError(f"{sign} is not read")
    value = _FUNCTIONS[sign](left, right)
    if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
        raise OverflowError(f"a value of more than {MAX_DIGITS} digits")
    return value


def number_at(tokens: Sequence[Token], index: int) -> tuple[Number, int] | None:
    """The number at an index, with its sign, and the index after it."""
    token = tokens[index]
    if token.value is not None:
        return Number(token.text, token.start, token.end, token.value), index + 1
    digits = tokens[index + 1] if token.text == "-" else token
    if digits.value is not None and digits.start == token.end:
        return Number(f"-{digits.text}", token.start, digits.end, -digits.value), index + 2
    return None


def chain_at(tokens: Sequence[Token], index: int) -> tuple[list[Expression], int]:
    """The members of the longest `a = b = …` that begins at an index, and the index after it."""
    members: list[Expression] = []
    numbers: list[Number] = []
    operators: list[str] = []
    while found := number_at(tokens, index):
        numbers.append(found[0])
        index = found[1]
        sign = tokens[index]
        goes_on = (sign.kind == "operator" or sign.text == "=") and number_at(tokens, index + 1)
        if goes_on and sign.kind == "operator":
            operators.append(sign.text)
        else:
            members.append(Expression(tuple(numbers), tuple(operators)))
            numbers, operators = [], []
        if not goes_on:
            break
        index += 1
    return members, index


@dataclass(frozen=True)
class _Text:
    """What a response says.

    `numbers` are those outside of equations and the answer, `unread` is a sign of a calculation that cannot be read.
    """

    equations: list[Equation]
    answer: Number | None
    numbers: set[Fraction]
    unread: str | None


_BOX = re.compile(r"\\f?boxed ?\{([^{}]*)\}")
_MONEY_OR_DECIMAL = re.compile("[$€£.]")
_OTHER_NUMBERS = re.compile(
    r"(?i)\b(?:eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|dozen|hundred|thousand|million"
    r"|base|binary|clock|hexadecimal|mod|modulo|octal)\b"
)
"""Words for numbers beyond ten, and for other ways to read digits."""
_LEADING_WORDS = frozenset("finally first hence next now so then therefore thus".split())
"""What may stand right before an equation: after other words (`the average of 80 + 90`) it may be a part of more."""


def _read(text: str) -> _Text:
    tokens = tokenize(text)
    answer = _answer(text, tokens)
    equations: list[Equation] = []
    numbers: set[Fraction] = set()
    unread: str | None = None
    index = 0
    while index < len(tokens):
        found, end = _equations_at(text, tokens, index)
        token = tokens[index]
        if not found and not (answer and answer.start <= token.start < answer.end):
            beside = (tokens[index - 1].kind, tokens[index + 1].kind) if token.kind == "operator" else ()
            if token.kind == "equals" or "number" in beside:
                unread = unread or token.text
            if token.value is not None:
                numbers.add(token.value)
        equations += found
        index = end if found else index + 1
    return _Text(equations, answer, numbers, unread)


def _answer(text: str, tokens: Sequence[Token]) -> Number | None:
    """The number that alone is in the last box."""
    boxes = list(_BOX.finditer(text))
    start, end = boxes[-1].span(1) if boxes else (0, 0)
    inside = [index for index, token in enumerate(tokens) if start <= token.start < end]
    found = number_at(tokens, inside[0]) if inside else None
    return found[0] if found and found[1] == inside[-1] + 1 else None


def _equations_at(text: str, tokens: Sequence[Token], index: int) -> tuple[list[Equation], int]:
    """The equations of the chain that begins at an index, if it is a phrase of its own, and the index after it."""
    before = tokens[index - 1]  # of the first one: the break at the end
    if before.kind != "break" and before.text.lower() not in _LEADING_WORDS:
        return [], index
    members, end = chain_at(tokens, index)
    if not members or tokens[end].kind != "break":
        return [], index
    unreadable = _MONEY_OR_DECIMAL.search(text, tokens[index].start, tokens[end - 1].end)
    return ([] if unreadable else _split(members)), end


def _split(members: Sequence[Expression]) -> list[Equation]:
    """The equations of a chain: a new one begins where its author went on from a total, `5 + 3 = 8 + 2 = 10`.

    Empty where a number stands first, or a member is another form of the one before (`3 * 4 + 2 = 12 + 2 = 14`).
    """
    equations: list[Equation] = []
    results: list[Number] = []
    left = members[0]
    for member in members[1:]:
        if not left.operators or len(left.numbers) > MAX_OPERANDS:
            return []
        results.append(member.numbers[0])
        if member.operators:
            try:
                is_total = bool(equations) or left.value() == results[0].value
            except ArithmeticError:
                return []
            if len(results) > 1 or not is_total:
                return []
            equations.append(Equation(left, tuple(results)))
            left, results = member, []
    return [*equations, Equation(left, tuple(results))] if results else []


def _judge(equations: Sequence[Equation], given: Collection[Fraction]) -> list[Verdict]:
    """Whether each equation holds; `operand`: with another number that was known it would, so that one may be wrong."""
    verdicts: list[Verdict] = []
    results: set[Fraction] = set()
    used: set[Fraction] = set()
    for equation in equations:
        operands = {number.value for number in equation.left.numbers}
        verdict = _verdict(equation)
        if verdict == "wrong" and _has_wrong_operand(
            equation, results.union(given), results - used - operands
        ):
            verdict = "operand"
        verdicts.append(verdict)
        results.update(number.value for number in equation.results)
        used |= operands
    return verdicts


def _verdict(equation: Equation) -> Verdict:
    try:
        exact = equation.left.value()
    except ArithmeticError:
        return "unclear"
    if exact.denominator > 1:
        return "unclear"  # the result is a rounded one
    wrong = [number for number in equation.results if number.value != exact]
    if any(_is_meant_otherwise(number, equation.left, exact) for number in wrong):
        return "unclear"
    return "wrong" if wrong else "right"


def _is_meant_otherwise(result: Number, left: Expression, exact: Fraction) -> bool:
    """Whether a wrong result has a reading in which it is right: sign left out, or other precedence."""
    if result.value == -exact or (exact < 0 and result.value == 1 - exact):  # pages 10-15 are 6 pages
        return True
    first, *others = (number.value for number in left.numbers)
    sign, *signs = left.operators
    try:
        left_to_right = _fold([first, *others], [sign, *signs])
        return result.value in (left_to_right, _combine(sign, first, _fold(others, signs)))
    except ArithmeticError:
        return True


def _fold(values: Sequence[Fraction], operators: Sequence[str]) -> Fraction:
    """The value from left to right, without precedence."""
    value = values[0]
    for sign, other in zip(operators, values[1:], strict=True):
        value = _combine(sign, value, other)
    return value


def _has_wrong_operand(equation: Equation, known: set[Fraction], unused: set[Fraction]) -> bool:
    """Whether the results are right once one operand is another number that was known before the step.

    An operand from nowhere may stand for any such number, one that is known for an earlier result that is `unused`.
    """
    for number in equation.left.numbers:
        for other in unused if number.value in known | SMALL_NUMBERS else known:
            try:
                exact = equation.left.value({number: other})
            except ArithmeticError:
                continue
            if all(result.value == exact for result in equation.results):
                return True
    return False


def _carry(
    text: _Text, answer: Number, verdicts: Sequence[Verdict], question: Collection[Fraction]
) -> dict[Number, Fraction]:
    """The numbers that change, with their new values; results that are unclear stay as they are.

    Where every step begins with the result before it, its first number is that result, and its other numbers are the
    question's. Else a number is an earlier result if it has that result's value and nothing else has.

    Raises:
        NoCorrectionError: a number may be one thing or another, or the answer does not follow from a wrong step.
        ArithmeticError: a new value cannot be computed.
    """
    is_chain = all(a.results[-1].value == b.left.numbers[0].value for a, b in pairwise(text.equations))
    given = {*SMALL_NUMBERS, *text.numbers, *question}
    new: dict[Number, Fraction] = {}
    said: defaultdict[Fraction, set[Fraction]] = defaultdict(set)
    """New values of the results that said a value."""
    last: Number | None = None
    for equation, verdict in zip(text.equations, verdicts, strict=True):
        for place, number in enumerate(equation.left.numbers):
            possible = said[number.value]
            if not possible:
                given.add(number.value)
            if last and place == 0 and (is_chain or number == last):
                new[number] = new[last]
            elif possible <= {number.value} or (is_chain and number.value in question):
                new[number] = number.value
            elif not is_chain and len(possible) == 1 and number.value not in given:
                [new[number]] = possible
            else:
                raise NoCorrectionError(f"{number.text} may be an earlier result or another number")
            if place and new[number] < 0 < number.value:
                raise NoCorrectionError(f"the operand {number.text} would become negative")
        value = equation.left.value(new)
        for number in equation.results:
            new[number] = number.value if verdict == "unclear" else value
            said[number.value].add(new[number])
        last = equation.results[-1]
    final = [number for number in text.equations[-1].results if number.value == answer.value]
    if not final:
        raise NoCorrectionError("the final answer is not the value of the last step")
    new[answer] = new[final[-1]]
    if new[answer] == answer.value:
        raise NoCorrectionError("the corrected value does not reach the final answer")
    changes = {number: value for number, value in new.items() if value != number.value}
    if repeated := text.numbers & {number.value for number in changes}:
        raise NoCorrectionError(
            f"a sentence says {min(repeated)}, which may be another number than the result"
        )
    return changes


def _rewrite(text: str, changes: Mapping[Number, Fraction]) -> str:
    """The text with new values in place of numbers, with thousands separators where those had them."""
    for number, value in sorted(changes.items(), key=lambda change: change[0].start, reverse=True):
        if value.denominator > 1:
            raise NoCorrectionError(f"{value} is no whole number")
        digits = f"{int(value):,}" if "," in number.text else str(value)
        text = text[: number.start] + digits + text[number.end :]
    return text
