"""What a text says, whatever its case, white space, punctuation and LaTeX spacing.

It becomes tokens of two kinds. *Words* may differ a little between two versions of a question. *Marks* may not: with
another number, operator, bracket, LaTeX command, variable or negation it is another question.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

# fmt: off
_DECISIVE_WORDS = frozenset([
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty",
    "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million", "billion", "dozen",
    "first", "second", "third", "fourth", "fifth", "half", "quarter", "once", "twice", "thrice",
    "double", "triple", "quadruple", "no", "not", "non", "none",
])
# fmt: on
_SINGLE_LETTER_WORDS = frozenset("ai")
_CJK = r"\u3040-\u30ff\u3400-\u9fff"  # written without spaces: each character counts as a word

_SAME_SIGN = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "..."}
)
_LATEX_DELIMITER = re.compile(r"\$|\\[()\[\]]")
_LATEX_SPACING = re.compile(
    r"\\(?:[,;:! ]|(?:quad|qquad|left|right|displaystyle|limits)(?![a-zA-Z]))|(?<=\\)[dt](?=frac)|~"
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_INSIDE_WORD = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})|(?<=[^\W\d_]{2})'(?=[^\W\d_])")
# A full stop, colon, question or exclamation mark counts as punctuation only after something and before a space:
# elsewhere it may be the empty cell of a board, a ratio or a factorial.
_PUNCTUATION = re.compile(
    r"[,;\"«»`]|(?:(?<=[^\W_])|(?<=[)\]}]))[.:?]+(?=\s|$|[)\]}])|(?<=[^\W\d_]{2})!(?=\s|$)"
)
_TOKEN = re.compile(rf"\d+(?:\.\d+)?|\\[a-zA-Z]+|[{_CJK}]|(?:(?![{_CJK}])[^\W\d_])+|\S")


@dataclass(frozen=True)
class Wording:
    """The tokens of a text, in their order: two texts with the same tokens are the same text, differently set."""

    tokens: tuple[str, ...]

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The tokens in which two versions of one question have to agree."""
        return tuple(token for token in self.tokens if token in _DECISIVE_WORDS or _is_symbol(token))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words as a person counts them: a number or a formula is one, however long and however spaced."""
        runs = ((symbols, list(run)) for symbols, run in groupby(self.tokens, _is_symbol))
        joined = ([" ".join(run)] if symbols else run for symbols, run in runs)
        return _interned(chain.from_iterable(joined))


def wording(text: str) -> Wording:
    """The tokens of a text; a text of nothing but punctuation is one token."""
    plain = unicodedata.normalize("NFC", text).translate(_SAME_SIGN)
    plain = _LATEX_SPACING.sub(lambda found: "" if found[0] in "dt" else " ", plain)
    plain = _LATEX_DELIMITER.sub("", plain)
    plain = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), plain)
    plain = _INSIDE_WORD.sub(lambda sign: " " if sign[0] == "-" else "", plain)
    tokens = _TOKEN.findall(_PUNCTUATION.sub(" ", plain)) or [text]
    # \Delta is another symbol than \delta.
    return Wording(_interned(token if token.startswith("\\") else token.casefold() for token in tokens))


def _interned(tokens: Iterable[str]) -> tuple[str, ...]:
    """Equal tokens share their memory: a hundred thousand questions hold few different ones."""
    return tuple(map(sys.intern, tokens))


def _is_symbol(token: str) -> bool:
    if len(token) == 1 and token.isascii():
        return token not in _SINGLE_LETTER_WORDS
    return not token.isalpha()
