"""Right solutions as data: sentences, steps, and which number came from which step, read from GSM8K's annotations.

An annotation `48/2 = <<48/2=24>>24` says what was calculated. With it a solution becomes a list of pieces whose numbers
are bound to steps, so that it can be written again in another style, or with a slip that is carried on. Nothing here
uses the calculator Oracle: it is what the Oracle is measured against.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)(?![\w]|,\d|\.\d|:\d)")
_STEP = re.compile(r"=\s*(?P<money>\$?)<<(?P<expression>[^<>=]+)=(?P<value>[^<>=]+)>>")
_ANSWER = re.compile(r"^(?:####|A:)\s*(?P<answer>\S+)\s*$", re.MULTILINE)
_WORDS = "one two three four five six seven eight nine ten eleven twelve".split()
_OTHER_WORDS = {
    "half": 2,
    "twice": 2,
    "double": 2,
    "third": 3,
    "quarter": 4,
    "dozen": 12,
    "week": 7,
    "%": 100,
}


@dataclass(frozen=True)
class Number:
    """A number in a text. `step`: index of the step whose result it repeats; None for a given number."""

    text: str
    value: Fraction
    step: int | None


@dataclass(frozen=True)
class Operation:
    """`left operator right`; `parentheses` if the source wrote them around it."""

    operator: str
    left: "Operation | Number"
    right: "Operation | Number"
    parentheses: bool = False


@dataclass(frozen=True)
class Step:
    """One calculation. `written` is its left side as the source has it, with its units."""

    index: int
    root: Operation
    written: tuple["str | Number", ...]
    shown: str
    money: bool
    value: Fraction


Piece = str | Number | Step


@dataclass(frozen=True)
class Solution:
    """`pieces` in the order of the text; `answer` repeats a step. `traceable`: steps whose value is theirs alone."""

    pieces: tuple[Piece, ...]
    answer: Number
    traceable: frozenset[int]

    @property
    def steps(self) -> list[Step]:
        """Its calculations, in order."""
        return [piece for piece in self.pieces if isinstance(piece, Step)]


class UnusableError(ValueError):
    """The solution cannot be bound to its annotations without a guess."""


def number_of(text: str) -> Fraction:
    """The value of a written number."""
    return Fraction(text.replace(",", ""))


def numbers_in(text: str) -> list[re.Match[str]]:
    """The numbers of a text, in order."""
    return list(_NUMBER.finditer(text))


def evaluate(root: "Operation | Number", values: dict[int, Fraction] | None = None) -> Fraction:
    """The exact value; `values` says what the results of steps are. Raises ZeroDivisionError."""
    if isinstance(root, Number):
        return root.value if root.step is None or values is None else values.get(root.step, root.value)
    left, right = evaluate(root.left, values), evaluate(root.right, values)
    return {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[root.operator](
        right
    )


def leaves(root: "Operation | Number") -> Iterator[Number]:
    """The numbers of an expression, left to right."""
    if isinstance(root, Number):
        yield root
    else:
        yield from leaves(root.left)
        yield from leaves(root.right)


def read_solution(text: str, question: str) -> Solution:
    """A solution of GSM8K's kind. Raises UnusableError where it is not exact, or not all annotated."""
    answer = _ANSWER.search(text)
    if answer is None:
        raise UnusableError("no answer line")
    reader = _Reader(text[: answer.start()], question)
    reader.read()
    if not reader.results:
        raise UnusableError("no annotation")
    try:
        value = number_of(answer["answer"].strip("$."))
    except ValueError as error:
        raise UnusableError("the answer is no number") from error
    last = len(reader.results) - 1
    if reader.results[last] != value:
        raise UnusableError("the answer is not the last result")
    return Solution(tuple(reader.pieces), Number(answer["answer"], value, last), reader.traceable())


class _Reader:
    def __init__(self, text: str, question: str):
        self.text = text
        self.pieces: list[Piece] = []
        self.results: list[Fraction] = []
        self.given = Counter(number_of(match.group()) for match in _NUMBER.finditer(question))
        words = question.lower()
        self.given.update(Fraction(n) for n, word in enumerate(_WORDS, start=1) if word in words)
        self.given.update(Fraction(n) for word, n in _OTHER_WORDS.items() if word in words)
        self.ambiguous: set[Fraction] = set()

    def read(self) -> None:
        position = 0
        for match in _STEP.finditer(self.text):
            line = max(position, self.text.rfind("\n", 0, match.start()) + 1)
            root = self._parsed(match["expression"])
            start, written = self._left_side(line, match.start(), list(leaves(root)))
            self._prose(position, start)
            shown = _NUMBER.match(self.text, match.end())
            value = evaluate(root)
            if shown is None or number_of(shown.group()) != value or value <= 0:
                raise UnusableError("an annotation is not followed by its exact value")
            self.pieces.append(
                Step(len(self.results), root, written, shown.group(), bool(match["money"]), value)
            )
            if value in self.results or value in self.given:
                self.ambiguous.add(value)
            self.results.append(value)
            position = shown.end()
        self._prose(position, len(self.text))

    def traceable(self) -> frozenset[int]:
        return frozenset(i for i, value in enumerate(self.results) if value not in self.ambiguous)

    def _number(self, text: str) -> Number:
        value = number_of(text)
        steps = [index for index, result in enumerate(self.results) if result == value]
        if not steps:
            self.given[value] += 1
        return Number(text, value, steps[-1] if steps else None)

    def _parsed(self, expression: str) -> Operation:
        def read(node: ast.expr) -> Operation | Number:
            if isinstance(node, ast.BinOp):
                operators = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
                if type(node.op) in operators:
                    grouped = expression[: node.col_offset].rstrip().endswith("(")
                    return Operation(operators[type(node.op)], read(node.left), read(node.right), grouped)
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                source = ast.get_source_segment(expression, node)
                assert source is not None
                return self._number(source)
            raise UnusableError("an annotation that is not plain arithmetic")

        expression = expression.strip()
        try:
            root = read(ast.parse(re.sub(r"(?<![\d.])0+(?=\d)", "", expression), mode="eval").body)
            if "(" in expression or not isinstance(root, Operation):
                raise UnusableError("parentheses")
            evaluate(root)
        except (SyntaxError, ValueError, ZeroDivisionError) as error:
            raise UnusableError("an annotation that is not plain arithmetic") from error
        return root

    def _left_side(self, line: int, end: int, wanted: list[Number]) -> tuple[int, tuple[str | Number, ...]]:
        """Where the left side of a step starts: its numbers must be those of the annotation."""
        numbers = list(_NUMBER.finditer(self.text, line, end))[-len(wanted) :]
        if len(numbers) < len(wanted) or any(
            number_of(match.group()) != leaf.value for match, leaf in zip(numbers, wanted, strict=True)
        ):
            raise UnusableError("the left side of a step is not what its annotation says")
        parts: list[str | Number] = []
        start = numbers[0].start()
        if self.text[start - 1 : start] == "$":
            start -= 1
            parts.append("$")
        position = numbers[0].start()
        for match, leaf in zip(numbers, wanted, strict=True):
            parts += [self.text[position : match.start()], Number(match.group(), leaf.value, leaf.step)]
            position = match.end()
        parts.append(self.text[position:end])
        between = "".join(part for part in parts if isinstance(part, str))
        if "=" in between or "(" in between or "%" in between or "%" in self.text[line:start]:
            raise UnusableError("a left side that is more than an expression")
        return start, tuple(parts)

    def _prose(self, start: int, end: int) -> None:
        if "=" in self.text[start:end]:
            raise UnusableError("an equation without annotation")
        position = start
        for match in _NUMBER.finditer(self.text, start, end):
            self.pieces += [self.text[position : match.start()], self._number(match.group())]
            position = match.end()
        self.pieces.append(self.text[position:end])
