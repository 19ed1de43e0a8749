"""Reading an expression from tokens: a small grammar with units between the operands.

expression := term (("+" | "-") term)*
term       := factor (("*" | "/" | "of") factor)*
factor     := ("+" | "-") factor | atom ("^" factor)?
atom       := number "%"? units? | mixed units? | "(" expression ")" units? | "{" expression "}" units? | fraction
mixed      := number (number "/" number | fraction)
fraction   := frac "{" expression "}" "{" expression "}"
units      := up to five words, "per hour", "/hour", "(in dollars)", "gallons of water"
"""

from collections.abc import Sequence

from spot_core.oracles.arithmetic.expressions import Expression, Literal, Operation, Reading
from spot_core.oracles.arithmetic.tokens import Kind, Token
from spot_core.oracles.arithmetic.words import PHRASE_WORDS, SCALE_WORDS

MAX_UNIT_WORDS = 5
MAX_DEPTH = 20  # nested parentheses and signs
MAX_TOKENS = 200  # of one expression


class UnreadableError(ValueError):
    """The tokens are not an expression of written numbers."""


def read_expression(tokens: Sequence[Token], first: int = 0) -> Reading:
    """The longest expression that starts at `tokens[first]`. Raises UnreadableError if none does."""
    reader = _Reader(tokens, first)
    root = reader.expression(0)
    return Reading(
        root,
        tokens[first].start,
        tokens[reader.last_operand].end,
        frozenset(reader.units),
        reader.position - first,
    )


class _Reader:
    """Recursive descent over the tokens; `position` is the next token to read."""

    def __init__(self, tokens: Sequence[Token], first: int):
        self.tokens = tokens
        self.first = first
        self.position = first
        self.last_operand = first  # index of the token that ends the last operand (units excluded)
        self.units: set[str] = set()

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def _is(self, kind: Kind, ahead: int = 0, text: str | None = None) -> bool:
        token = self._peek(ahead)
        return token is not None and token.kind is kind and (text is None or token.text == text)

    def _operator(self, allowed: str) -> str | None:
        """The operator at this position, if an operand follows it; else None, and nothing is read."""
        token = self._peek()
        if token is None or token.kind is not Kind.OPERATOR or token.text not in allowed:
            return None
        following = self._peek(1)
        starts_operand = following is not None and (
            following.kind in (Kind.NUMBER, Kind.OPEN, Kind.FRACTION)
            or (following.kind is Kind.OPERATOR and following.text in "+-")
        )
        return token.text if starts_operand else None

    def expression(self, depth: int) -> Expression:
        node = self.term(depth)
        while operator := self._operator("+-"):
            self.position += 1
            node = Operation(operator, node, self.term(depth))
        return node

    def term(self, depth: int) -> Expression:
        node = self.factor(depth)
        divided = False
        while True:
            if operator := self._operator("*/"):
                self.position += 1
                divided = divided or operator == "/"
            elif self._is_of(node):
                self.position += 1
                operator = "*"
            elif self._is_juxtaposed():
                if divided:
                    raise UnreadableError("a / b (c) can be read in two ways")
                operator = "*"
            else:
                return node
            node = Operation(operator, node, self.factor(depth))

    def factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH or self.position - self.first > MAX_TOKENS:
            raise UnreadableError("nested too deeply, or too long")
        sign = self._peek()
        if sign is not None and sign.kind is Kind.OPERATOR and sign.text in "+-":
            self.position += 1
            node = self.factor(depth + 1)
            if sign.text == "+":
                return node
            if isinstance(node, Literal) and node.minus is None:
                return Literal(node.token, sign, node.percent)
            return Operation("-", None, node)
        node = self.atom(depth)
        if self._operator("^"):
            self.position += 1
            return Operation("^", node, self.factor(depth + 1))
        if self._is(Kind.OPERATOR, text="^") and self._is(Kind.OPEN_BRACE, 1):
            self.position += 1
            return Operation("^", node, self._braced(depth))
        return node

    def atom(self, depth: int) -> Expression:
        token = self._peek()
        if token is None:
            raise UnreadableError("an operand is missing")
        if token.kind is Kind.NUMBER:
            node: Expression = Literal(token)
            self._step_over_operand()
            if self._is(Kind.PERCENT):
                node = Literal(token, percent=True)
                self._step_over_operand()
            elif part := self._fraction_of_mixed(token):
                node = Operation("+", node, part, mixed=True)
        elif token.kind is Kind.OPEN:
            self.position += 1
            node = self.expression(depth + 1)
            if not self._is(Kind.CLOSE):
                raise UnreadableError("a parenthesis is not closed")
            self._step_over_operand()
        elif token.kind is Kind.OPEN_BRACE:
            node = self._braced(depth)
        elif token.kind is Kind.FRACTION:
            node = self._latex_fraction(depth)
        else:
            raise UnreadableError(f"{token.text!r} is not an operand")
        self._units()
        return node

    def _fraction_of_mixed(self, whole: Token) -> Expression | None:
        """The proper fraction that follows a whole number right away: `2 1/2`, `2\\frac{1}{2}`; else None."""
        first = self._peek()
        if first is None or first.start - whole.end > 1 or not whole.text.isdigit():
            return None
        before = self.position, self.last_operand
        part: Expression | None = None
        if self._is(Kind.FRACTION):
            part = self._latex_fraction(0)
        elif self._is(Kind.NUMBER) and self._is(Kind.OPERATOR, 1, "/") and self._is(Kind.NUMBER, 2):
            above, line, below = (self.tokens[self.position + ahead] for ahead in range(3))
            if above.end == line.start and line.end == below.start:
                part = Operation("/", Literal(above), Literal(below))
                self.position += 2
                self._step_over_operand()
        if isinstance(part, Operation) and _is_proper(part):
            return part
        self.position, self.last_operand = before
        return None

    def _latex_fraction(self, depth: int) -> Expression:
        self.position += 1
        numerator = self._braced(depth)
        return Operation("/", numerator, self._braced(depth))

    def _braced(self, depth: int) -> Expression:
        if not self._is(Kind.OPEN_BRACE):
            raise UnreadableError("a brace is missing")
        self.position += 1
        node = self.expression(depth + 1)
        if not self._is(Kind.CLOSE_BRACE):
            raise UnreadableError("a brace is not closed")
        self._step_over_operand()
        return node

    def _step_over_operand(self) -> None:
        self.last_operand = self.position
        self.position += 1

    def _units(self) -> None:
        """Step over the unit of the operand just read: words, `/hour`, `(in dollars)`."""
        words = 0
        while words < MAX_UNIT_WORDS:
            token = self._peek()
            if token is None:
                return
            if token.kind is Kind.WORD:
                word = token.text.lower()
                if word in SCALE_WORDS and words > 0:
                    return  # 360 cakes on the fifth day
                if word in SCALE_WORDS:
                    raise UnreadableError(f"{word!r} changes the number before it")
                of_what = word == "of" and words > 0 and self._is(Kind.WORD, 1)
                if word in PHRASE_WORDS and not of_what:
                    return
                length = 1 + self._square_or_cube(1)
            elif token.kind is Kind.OPERATOR and token.text == "/" and self._is(Kind.WORD, 1):
                length = 2
            elif token.kind is Kind.OPEN and self._is(Kind.WORD, 1) and self._is(Kind.CLOSE, 2):
                length = 3
            else:
                return
            read = self.tokens[self.position : self.position + length]
            self.units.update(unit.text.lower() for unit in read if unit.kind is Kind.WORD)
            self.position += length
            words += 1

    def _square_or_cube(self, ahead: int) -> int:
        """How many tokens the exponent of a unit takes: `\\text{m}^2`, `\\text{m}^{3}`."""
        if not self._is(Kind.OPERATOR, ahead, "^"):
            return 0
        if self._is(Kind.NUMBER, ahead + 1):
            return 2
        braced = self._is(Kind.OPEN_BRACE, ahead + 1) and self._is(Kind.NUMBER, ahead + 2)
        return 4 if braced and self._is(Kind.CLOSE_BRACE, ahead + 3) else 0

    def _is_of(self, node: Expression) -> bool:
        """`50% of 80`, `3/4 of 80`: a product."""
        part = (isinstance(node, Literal) and node.percent) or (
            isinstance(node, Operation)
            and node.operator == "/"
            and isinstance(node.left, Literal)
            and isinstance(node.right, Literal)
        )
        return part and self._is(Kind.WORD, text="of") and self._is(Kind.NUMBER, 1)

    def _is_juxtaposed(self) -> bool:
        """`5(3+2)`, `(2)(3)`: a product, if nothing stands between."""
        token = self._peek()
        return (
            token is not None
            and token.kind is Kind.OPEN
            and self.position > self.first
            and self.last_operand == self.position - 1
            and self.tokens[self.last_operand].end == token.start
        )


def _is_proper(fraction: Operation) -> bool:
    """Whether it is a fraction of two whole numbers between 0 and 1."""
    above, below = fraction.left, fraction.right
    if not (isinstance(above, Literal) and isinstance(below, Literal)):
        return False
    whole = above.token.text.isdigit() and below.token.text.isdigit()
    return whole and 0 < above.written < below.written
