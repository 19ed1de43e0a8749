"""A response as a list of arithmetic tokens: numbers, operators, equals signs, words, and breaks between phrases."""

import re
from dataclasses import dataclass
from enum import StrEnum

from sympy import Rational

from spot_core.oracles.arithmetic.numbers import NUMBER, NotComputableError, parse_number


class Kind(StrEnum):
    """What a piece of text is to the reader of arithmetic."""

    NUMBER = "number"
    OPERATOR = "operator"  # text is one of + - * / ^
    OPEN = "("
    CLOSE = ")"
    PERCENT = "%"
    FRACTION = "frac"  # LaTeX \frac, followed by two braced expressions
    OPEN_BRACE = "{"
    CLOSE_BRACE = "}"
    EQUALS = "="
    OPEN_NOTE = "<<"  # GSM8K's calculator annotation
    CLOSE_NOTE = ">>"
    WORD = "word"
    SYMBOL = "symbol"  # a variable, a function, a number glued to letters: makes an expression symbolic
    BREAK = "break"  # end of a phrase: newline, full stop, comma, bracket, bullet
    OTHER = "other"  # anything that arithmetic cannot contain


@dataclass(frozen=True, slots=True)
class Token:
    """`text[start:end]` of the response; `value` is the exact value of a NUMBER."""

    kind: Kind
    text: str
    start: int
    end: int
    value: Rational | None = None


APPROXIMATELY = "≈"  # the text of an EQUALS token that does not claim to be exact
_UNITS_GLUED = r"(?:km|cm|mm|kg|mg|ml|mL|lbs?|oz|mph|kph|ft|in|yd|hrs?|mins?|secs?|gb|GB|mb|MB|kWh|sq|gal)(?![A-Za-z0-9_])"
_LABELS = (
    r"(?:[Ss]tep|[Pp]art|[Cc]ase|[Ee]quation|[Qq]uestion|[Pp]roblem|[Oo]ption|[Ee]xample)s? *\(?[0-9]+\)?"
)

_SAYS = (
    r"(?<![A-Za-z])(?:,? ?(?:which|that) (?:is|equals|gives|makes|comes to)|is|are|makes|gives|leaves|totals|comes to|adds up to"
    r"|(?:to|we|you) get)(?: us| you| him| her| them)?(?![A-Za-z])"
)
_BEFORE_NUMBER = r"(?=[ ]\\?\$?[.0-9(])"

# The first pattern that matches wins; the group's name says what it is. None: dropped.
_PATTERNS: list[tuple[str, str]] = [
    ("bullet", r"(?m:^)[ \t]*(?:[-*+•–]|[0-9]{1,2}[.)]|\([0-9]{1,2}\)|#{1,3})[ \t]+"),
    ("open_note", r"<<"),
    ("close_note", r">>"),
    ("label", rf"(?<![A-Za-z]){_LABELS}(?![0-9.,]*[0-9])"),
    ("other_relation", r"[<>!:=≤≥≠]=+|=<(?!<)|=>|<|>|≤|≥|≠|\\(?:leq?|geq?|neq?)(?![A-Za-z])"),
    ("approximately", r"≈|\\approx(?![A-Za-z])|=[ ]*(?:approximately|about|roughly|around)(?![A-Za-z])"),
    ("equals", r"=|(?<![A-Za-z])(?:is equal to|equals)(?![A-Za-z])"),
    ("says", _SAYS),
    ("word_plus", rf"(?<![A-Za-z])plus{_BEFORE_NUMBER}"),
    ("word_minus", rf"(?<![A-Za-z])minus{_BEFORE_NUMBER}"),
    ("word_times", rf"(?<![A-Za-z])(?:times|multiplied by){_BEFORE_NUMBER}"),
    ("word_over", rf"(?<![A-Za-z])divided by{_BEFORE_NUMBER}"),
    ("degrees", r"°|\^\{?\\circ\}?"),
    ("environment", r"\\(?:begin|end)\{[A-Za-z*]*\}"),
    ("date", r"(?<![0-9/])[0-9]{1,2}/[0-9]{1,2}/(?:19|20)[0-9]{2}(?![0-9/])"),
    ("ordinal", rf"{NUMBER}(?:st|nd|rd|th)(?![A-Za-z])"),
    ("times_glued", rf"(?P<left>{NUMBER})(?P<cross>[xX])(?=[ ]?\$?[0-9(])"),
    ("number", rf"(?>{NUMBER})(?=-?{_UNITS_GLUED}|(?!,[0-9])(?!:[0-9])[^A-Za-z_]|$)"),
    ("glued", rf"{NUMBER}[A-Za-z0-9_,:.]*[A-Za-z0-9_]"),
    ("times", r"\\(?:times|cdot|ast)(?![A-Za-z])|[×✕·∗⋅]"),
    ("over", r"\\div(?![A-Za-z])|[÷/⁄]"),
    ("power", r"\*\*(?=[ ]?[0-9(-])(?<=[0-9)]\*\*)|(?<= )\*\*(?= )|\^"),
    (
        "dropped",
        r"\*\*|__|`|\\\$|[$€£¥₹&]|\\[()\[,;:! ]|\\(?:left|right|quad|qquad|displaystyle)(?![A-Za-z])",
    ),
    ("star", r"\*"),
    ("plus", r"\+"),
    ("minus", r"[-−]|(?<=[ 0-9)])–(?=[ 0-9($])"),
    ("fraction", r"\\[dt]?frac(?![A-Za-z])"),
    ("percent", r"\\?%|(?<![A-Za-z])percent(?![A-Za-z])"),
    ("latex_text", r"\\(?:text|textbf|mathrm|mbox)\{[^{}]*\}"),
    ("boxed", r"\\(?:boxed|fbox)[ ]?(?=\{)"),
    ("latex_break", r"\\\\|\\\]"),
    ("latex_other", r"\\[A-Za-z]*"),
    ("open", r"\("),
    ("close", r"\)"),
    ("open_brace", r"\{"),
    ("close_brace", r"\}"),
    ("symbol", r"[A-Za-z]+(?:[0-9_][A-Za-z0-9_]*)|[A-Za-z]+(?=\()"),
    ("word", r"[A-Za-z]{2,}(?:[-'’][A-Za-z]+)*"),
    ("letter", r"[A-Za-z]"),
    ("factorial", r"(?<=[0-9)])!"),
    ("break", r"[\n;?!,\[\]\"“”—→•]|:|\.+|…"),
    ("space", r"\s+"),
    ("other", r"."),
]
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS), re.DOTALL)
_CROSS_FOLLOWS = re.compile(r"[xX][ ]*\\?\$?[0-9(]")

_SIMPLE = {
    "bullet": (Kind.BREAK, None),
    "open_note": (Kind.OPEN_NOTE, None),
    "close_note": (Kind.CLOSE_NOTE, None),
    "label": (Kind.BREAK, None),
    "other_relation": (Kind.OTHER, None),
    "approximately": (Kind.EQUALS, APPROXIMATELY),
    "equals": (Kind.EQUALS, "="),
    "says": (Kind.WORD, "is"),
    "word_plus": (Kind.OPERATOR, "+"),
    "word_minus": (Kind.OPERATOR, "-"),
    "word_times": (Kind.OPERATOR, "*"),
    "word_over": (Kind.OPERATOR, "/"),
    "degrees": (Kind.WORD, "degrees"),
    "environment": (Kind.BREAK, None),
    "date": (Kind.SYMBOL, None),
    "ordinal": (Kind.WORD, None),
    "glued": (Kind.SYMBOL, None),
    "times": (Kind.OPERATOR, "*"),
    "over": (Kind.OPERATOR, "/"),
    "power": (Kind.OPERATOR, "^"),
    "star": (Kind.OPERATOR, "*"),
    "plus": (Kind.OPERATOR, "+"),
    "minus": (Kind.OPERATOR, "-"),
    "fraction": (Kind.FRACTION, None),
    "percent": (Kind.PERCENT, None),
    "latex_text": (Kind.WORD, None),
    "latex_break": (Kind.BREAK, None),
    "latex_other": (Kind.OTHER, None),
    "open": (Kind.OPEN, None),
    "close": (Kind.CLOSE, None),
    "open_brace": (Kind.OPEN_BRACE, None),
    "close_brace": (Kind.CLOSE_BRACE, None),
    "symbol": (Kind.SYMBOL, None),
    "word": (Kind.WORD, None),
    "factorial": (Kind.OTHER, None),
    "break": (Kind.BREAK, None),
    "other": (Kind.OTHER, None),
}
_IGNORED = frozenset({"space", "dropped", "boxed"})


def tokenize(text: str) -> list[Token]:
    """The arithmetic tokens of a text, left to right; white space, currency signs and markup are dropped."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        name = match.lastgroup if match.lastgroup not in ("left", "cross") else "times_glued"
        assert name is not None
        if name in _IGNORED:
            continue
        if name == "times_glued":
            tokens.append(_number(match["left"], match.start("left")))
            tokens.append(Token(Kind.OPERATOR, "*", match.start("cross"), match.end("cross")))
        elif name == "number":
            tokens.append(_number(match.group(), match.start()))
        elif name == "letter":
            tokens.append(_letter(text, match, tokens))
        else:
            kind, canonical = _SIMPLE[name]
            tokens.append(Token(kind, canonical or match.group(), match.start(), match.end()))
    return tokens


def _number(text: str, start: int) -> Token:
    try:
        return Token(Kind.NUMBER, text, start, start + len(text), parse_number(text))
    except NotComputableError:
        return Token(Kind.SYMBOL, text, start, start + len(text))


def _letter(text: str, match: re.Match[str], before: list[Token]) -> Token:
    """A lone letter: a multiplication cross between two operands, an article, or else a variable."""
    letter, start, end = match.group(), match.start(), match.end()
    after_operand = before and before[-1].kind in (Kind.NUMBER, Kind.WORD, Kind.CLOSE, Kind.PERCENT)
    if letter in "xX" and after_operand and _CROSS_FOLLOWS.match(text, start):
        return Token(Kind.OPERATOR, "*", start, end)
    return Token(Kind.WORD if letter in "aAI" else Kind.SYMBOL, letter, start, end)
