"""What stands to the left of an equals sign: the longest expression that begins where a phrase can begin."""

from spot_core.oracles.arithmetic.expressions import Reading
from spot_core.oracles.arithmetic.reading import UnreadableError, read_expression
from spot_core.oracles.arithmetic.segments import DELIMITERS, MAX_SEGMENT_TOKENS, STARTS
from spot_core.oracles.arithmetic.tokens import Kind, Token
from spot_core.oracles.arithmetic.words import BINDING_WORDS, FUNCTION_WORDS, PHRASE_WORDS, SCALE_WORDS

_LISTING = ("of", "between")
_BINDING_AFTER = {
    "of": SCALE_WORDS | FUNCTION_WORDS | frozenset(("%",)),  # half of 5 + 3, the cube of 2 + 1
    "by": frozenset(("divided", "multiplied")),
}


def left_member(tokens: list[Token], equals: int) -> Reading | None:
    """The longest expression that ends at an equals sign and begins at the beginning of a phrase."""
    first = equals
    while first > 0 and tokens[first - 1].kind not in DELIMITERS and equals - first < MAX_SEGMENT_TOKENS:
        first -= 1
    segment = tokens[first:equals]
    for start, token in enumerate(segment):
        signed = token.kind is Kind.OPERATOR and token.text == "-"
        if token.kind not in STARTS and not (signed and (start == 0 or segment[start - 1].kind is Kind.OPEN)):
            continue
        try:
            reading = read_expression(segment, start)
        except UnreadableError:
            continue
        if reading.tokens_read < len(segment) - start:
            continue
        at_beginning = start == 0 and (first == 0 or tokens[first - 1].kind in DELIMITERS)
        if at_beginning or (start > 0 and _begins_phrase(segment, start)):
            return reading if at_beginning or not reading.is_number else None
    return None


def _begins_phrase(segment: list[Token], start: int) -> bool:
    """Whether what stands before an expression does not belong to it."""
    before = segment[start - 1]
    if before.kind in (Kind.OPEN, Kind.OPEN_BRACE):
        return True
    word = before.text.lower()
    if before.kind is not Kind.WORD or word in BINDING_WORDS:
        return False
    if start > 1 and word in _BINDING_AFTER:
        head = segment[start - 2]
        return head.kind is Kind.WORD and head.text.lower() not in _BINDING_AFTER[word]
    # `5 feet 10 inches + …`: a quantity in two units; `the product of 3 and 4 + 2`: half of a list.
    after_number = start > 1 and segment[start - 2].kind is Kind.NUMBER
    listed = word == "and" and any(token.text.lower() in _LISTING for token in segment[: start - 2])
    return not (after_number and (word not in PHRASE_WORDS or listed))
