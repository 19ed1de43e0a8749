"""Phrases as segments of tokens: where they end, and what an operand can start with."""

from collections.abc import Sequence

from spot_core.oracles.arithmetic.tokens import Kind, Token

MAX_SEGMENT_TOKENS = 120  # to the left of one `=`
DELIMITERS = (Kind.BREAK, Kind.EQUALS, Kind.OPEN_NOTE, Kind.CLOSE_NOTE)
STARTS = (Kind.NUMBER, Kind.OPEN, Kind.FRACTION)
_LINE_ENDS = ("\n", "\\\\")  # the second one is LaTeX's


def segment_end(tokens: Sequence[Token], first: int) -> int:
    """Index of the first delimiter from `first` on, or the number of tokens."""
    index = first
    while index < len(tokens) and tokens[index].kind not in DELIMITERS:
        index += 1
    return index


def joined_lines(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without line ends next to an equals sign: aligned equations go on in the next line."""
    kept: list[Token] = []
    for token in tokens:
        if token.kind is Kind.EQUALS:
            while kept and kept[-1].text in _LINE_ENDS:
                kept.pop()
        elif token.text in _LINE_ENDS and kept and kept[-1].kind is Kind.EQUALS:
            continue
        kept.append(token)
    return kept
