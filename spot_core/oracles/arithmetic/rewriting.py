"""New numbers over old ones: replacements of spans of a text, each written the way the old number was."""

from dataclasses import dataclass, field

from sympy import Rational

from spot_core.oracles.arithmetic.numbers import displayed, format_number, rounding_mode, style_of
from spot_core.oracles.arithmetic.results import Result
from spot_core.oracles.arithmetic.tokens import Token


class CannotCarryError(ValueError):
    """There is a wrong step, but no coherent edit of it that is free of guesses; the message says why."""


@dataclass
class Edits:
    """Replacements of spans of the text, no two of which disagree."""

    text: str
    spans: dict[tuple[int, int], str] = field(default_factory=dict)

    def replace(self, start: int, end: int, new: str) -> None:
        """Replace one span; raises CannotCarryError if it was replaced by something else before."""
        if self.spans.setdefault((start, end), new) != new:
            raise CannotCarryError(f"two steps disagree about what {self.text[start:end]!r} should be")

    def touches(self, token: Token) -> bool:
        """Whether a number has been replaced."""
        return (token.start, token.end) in self.spans

    def write(self, token: Token, minus: Token | None, value: Rational, *, grouped: bool = False) -> None:
        """Write a signed value over a number; `grouped` puts a new minus sign into parentheses."""
        style = style_of(token.text)
        shown, decimals = displayed(value, style, None)
        if shown != value:
            raise CannotCarryError(f"{value} has no exact decimal form")
        self._write_digits(token, minus, value, format_number(value, decimals, style), grouped)

    def write_result(self, result: Result, exact: Rational, was_exact: Rational) -> Rational:
        """Write what a result should be, rounded as the text rounds; returns the value as now written."""
        token, minus = result.literal.token, result.literal.minus
        if result.fraction is not None:
            self._write_fraction(result, exact)
            return exact
        style = style_of(token.text)
        mode = rounding_mode(result.written, style.decimals, was_exact)
        value, decimals = displayed(exact, style, mode)
        self._write_digits(token, minus, value, format_number(value, decimals, style), grouped=False)
        return value

    def _write_fraction(self, result: Result, exact: Rational) -> None:
        assert result.fraction is not None
        above, below = (literal.token for literal in result.fraction)
        if (exact < 0) != (result.written < 0):
            raise CannotCarryError("the sign of a fraction changes")
        whole, rest = divmod(abs(exact), 1) if result.is_mixed else (0, abs(exact))
        if rest.q == 1 or (result.is_mixed and whole == 0):
            raise CannotCarryError("a fraction would become a whole number, or the other way round")
        if result.is_mixed:
            self.replace(result.literal.token.start, result.literal.token.end, str(whole))
        self.replace(above.start, above.end, str(rest.p))
        self.replace(below.start, below.end, str(rest.q))

    def _write_digits(
        self, token: Token, minus: Token | None, value: Rational, digits: str, grouped: bool
    ) -> None:
        if value < 0 and minus is None:
            digits = f"(-{digits})" if grouped else f"-{digits}"
        if value >= 0 and minus is not None:
            self.replace(minus.start, minus.end, "")
        self.replace(token.start, token.end, digits)

    def apply(self) -> str:
        """The text with all replacements made."""
        pieces, position = [], 0
        for (start, end), new in sorted(self.spans.items()):
            pieces += [self.text[position:start], new]
            position = end
        return "".join([*pieces, self.text[position:]])
