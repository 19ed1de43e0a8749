"""Finding the equations of a text: which tokens to the left and right of each `=` belong to it."""

from itertools import pairwise

from spot_core.oracles.arithmetic.chains import Chain
from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.expressions import Reading
from spot_core.oracles.arithmetic.left_members import left_member
from spot_core.oracles.arithmetic.results import as_result
from spot_core.oracles.arithmetic.right_members import display, note_members, right_member, said_value, whole
from spot_core.oracles.arithmetic.segments import DELIMITERS, MAX_SEGMENT_TOKENS, joined_lines, segment_end
from spot_core.oracles.arithmetic.tokens import APPROXIMATELY, Kind, Token, tokenize
from spot_core.oracles.arithmetic.words import APPROXIMATING_WORDS, SAYS


def find_equations(text: str) -> list[Equation]:
    """The readable equations of a text in the order in which they end."""
    return equations_in(tokenize(text))


def equations_in(all_tokens: list[Token]) -> list[Equation]:
    """The readable equations of a tokenized text."""
    tokens = joined_lines(all_tokens)
    equations: list[Equation] = []
    chain = Chain()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.kind is Kind.EQUALS:
            approximate = token.text == APPROXIMATELY
            if not chain.members:
                chain.add(left_member(tokens, index))
            if index + 1 < len(tokens) and tokens[index + 1].kind is Kind.OPEN_NOTE:
                index += 1
                continue
            stop = segment_end(tokens, index + 1)
            reading = whole(tokens, index + 1, stop)
            if stop < len(tokens) and tokens[stop].kind is Kind.EQUALS and reading is not None:
                chain.add(reading, approximate=approximate)
            else:
                chain.add(right_member(tokens, index + 1, stop), approximate=approximate)
                equations += chain.equations()
                chain = Chain()
            index = stop
        elif token.kind is Kind.OPEN_NOTE and (close := _note_end(tokens, index)) is not None:
            for member in note_members(tokens, index + 1, close):
                chain.add(member)
            stop = segment_end(tokens, close + 1)
            if shown := display(tokens, close + 1, stop):
                chain.add(shown)
            equations += chain.equations()
            chain = Chain()
            index = close + 1
        else:
            if token.kind in DELIMITERS:
                equations += chain.equations()
                chain = Chain()
            elif token.kind is Kind.WORD and token.text == SAYS:
                equations += _said(tokens, index).equations()
            index += 1
    return equations + chain.equations()


def _said(tokens: list[Token], verb: int) -> Chain:
    """The chain of two members that `20 plus 25 is 45` is; an empty one if the sentence says anything else.

    Far stricter than an equals sign: a verb after a calculation may as well compare, or begin something new.
    """
    chain = Chain()
    left = left_member(tokens, verb)
    if left is None or left.is_number or _is_written_fraction(left, tokens[:verb]):
        return chain
    segment = tokens[verb + 1 : segment_end(tokens, verb + 1)]
    approximate = bool(segment) and segment[0].text.lower() in APPROXIMATING_WORDS
    right = said_value(segment[1:] if approximate else segment)
    if right is not None:
        chain.add(left)
        chain.add(right, approximate=approximate)
    return chain


def _note_end(tokens: list[Token], opening: int) -> int | None:
    """Index of the `>>` that closes an annotation on the same line."""
    for index in range(opening + 1, min(len(tokens), opening + MAX_SEGMENT_TOKENS)):
        if tokens[index].kind is Kind.CLOSE_NOTE:
            return index
        if tokens[index].kind is Kind.OPEN_NOTE or tokens[index].text == "\n":
            return None
    return None


def _is_written_fraction(reading: Reading, tokens: list[Token]) -> bool:
    """Whether it is a number such as `3/4`, rather than the calculation `3 / 4` or `3 divided by 4`."""
    if as_result(reading) is None:
        return False
    inside = [token for token in tokens[-reading.tokens_read :] if token.start >= reading.start]
    return all(before.end == after.start for before, after in pairwise(inside[: len("a/b")]))
