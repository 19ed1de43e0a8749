"""Reading an expression from tokens: a small grammar with units between the operands.

expression := term (("+" | "-") term)*
term       := factor (("*" | "/" | "of") factor)*
factor     := ("+" | "-") factor | atom ("^" factor)?
atom       := number "%"? units? | "(" expression ")" units? | frac "{" expression "}" "{" expression "}"
units      := up to five words, "per hour", "/hour", "(in dollars)"
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
        root, tokens[first].start, tokens[reader.last_operand].end, reader.has_units, reader.position - first
    )


class _Reader:
    """Recursive descent over the tokens; `position` is the next token to read."""

    def __init__(self, tokens: Sequence[Token], first: int):
        self.tokens = tokens
        self.first = first
        self.position = first
        self.last_operand = first  # index of the token that ends the last operand (units excluded)
        self.has_units = False

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
                return Literal(node.token, sign, node.percent, sign is self.tokens[self.first])
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
            node: Expression = Literal(token, leading=self.position == self.first)
            self._step_over_operand()
            if self._is(Kind.PERCENT):
                assert isinstance(node, Literal)
                node = Literal(token, percent=True, leading=node.leading)
                self._step_over_operand()
        elif token.kind is Kind.OPEN:
            self.position += 1
            node = self.expression(depth + 1)
            if not self._is(Kind.CLOSE):
                raise UnreadableError("a parenthesis is not closed")
            self._step_over_operand()
        elif token.kind is Kind.FRACTION:
            self.position += 1
            numerator = self._braced(depth)
            return Operation("/", numerator, self._braced(depth))
        else:
            raise UnreadableError(f"{token.text!r} is not an operand")
        self._units()
        return node

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
                if word in SCALE_WORDS:
                    raise UnreadableError(f"{word!r} changes the number before it")
                if word in PHRASE_WORDS:
                    return
                length = 1
            elif token.kind is Kind.OPERATOR and token.text == "/" and self._is(Kind.WORD, 1):
                length = 2
            elif token.kind is Kind.OPEN and self._is(Kind.WORD, 1) and self._is(Kind.CLOSE, 2):
                length = 3
            else:
                return
            self.position += length
            self.has_units = True
            words += 1

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
