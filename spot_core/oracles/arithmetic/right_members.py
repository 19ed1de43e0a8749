"""What stands to the right of an equals sign, inside and after an annotation, and after a verb that says a value."""

from spot_core.oracles.arithmetic.expressions import Reading
from spot_core.oracles.arithmetic.reading import UnreadableError, read_expression
from spot_core.oracles.arithmetic.results import as_result
from spot_core.oracles.arithmetic.segments import STARTS
from spot_core.oracles.arithmetic.tokens import Kind, Token
from spot_core.oracles.arithmetic.words import (
    BINDING_WORDS,
    COMPARING_WORDS,
    MODULAR_WORDS,
    PREPOSITIONS,
    SCALE_WORDS,
)

_ENDS = (Kind.OPEN, Kind.CLOSE, Kind.OPEN_BRACE, Kind.CLOSE_BRACE)  # of what can follow a result at once


def whole(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The expression that fills `tokens[first:stop]` exactly."""
    try:
        reading = read_expression(tokens[first:stop])
    except (UnreadableError, IndexError):
        return None
    return reading if reading.tokens_read == stop - first else None


def right_member(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The expression that begins right after an equals sign, if it ends where a phrase can end."""
    segment = tokens[first:stop]
    reading = _begin(segment)
    if reading is None or reading.tokens_read == len(segment):
        return reading
    following, *others = segment[reading.tokens_read :]
    word = following.text.lower()
    if following.kind in _ENDS:
        return None if others and others[0].text.lower() in MODULAR_WORDS else reading
    second_unit = word == "and" and reading.units and [t.kind for t in others[:2]] == [Kind.NUMBER, Kind.WORD]
    if second_unit or word in SCALE_WORDS:
        return None  # 2 hours and 15 minutes
    unit_words = reading.tokens_read - 1 if reading.is_number and reading.literals[0].minus is None else 0
    if unit_words > 1 or _ends_with_preposition(segment[: reading.tokens_read]):
        return reading
    if following.kind is Kind.WORD:
        goes_on = word in BINDING_WORDS and bool(others) and others[0].kind in STARTS
        return None if goes_on else reading
    dash = following.kind is Kind.OPERATOR and following.text == "-"
    return reading if dash and others and others[0].kind is Kind.WORD else None


def said_value(segment: list[Token]) -> Reading | None:
    """The number that a phrase begins with, if the phrase says no more than that number and what is counted."""
    compares = any(token.kind is Kind.WORD and token.text.lower() in COMPARING_WORDS for token in segment)
    reading = None if compares else _begin(segment)
    if reading is None or as_result(reading) is None:
        return None
    rest = segment[reading.tokens_read :]
    if not rest:
        return reading
    goes_on = rest[0].kind in (Kind.WORD, *_ENDS) or _ends_with_preposition(segment[: reading.tokens_read])
    scaled = rest[0].text.lower() in SCALE_WORDS | {"of"}
    return reading if goes_on and not scaled else None


def note_members(tokens: list[Token], first: int, close: int) -> list[Reading | None]:
    """What stands between `<<` and `>>`; of a symbolic annotation only its value, if that is a number."""
    members: list[Reading | None] = []
    start = first
    for index in range(first, close + 1):
        if index == close or tokens[index].kind is Kind.EQUALS:
            members.append(whole(tokens, start, index))
            start = index + 1
    if None in members:
        value = members[-1]
        return [value] if value is not None and value.is_number else []
    return members


def display(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The number written right after an annotation; units may follow it."""
    segment = tokens[first:stop]
    signed = len(segment) > 1 and segment[0].kind is Kind.OPERATOR and segment[0].text == "-"
    length = 2 if signed else 1
    if len(segment) < length or segment[length - 1].kind is not Kind.NUMBER:
        return None
    if len(segment) > length and segment[length].kind is Kind.PERCENT:
        length += 1
    return whole(tokens, first, first + length)


def _begin(segment: list[Token]) -> Reading | None:
    """The longest expression that begins a phrase."""
    try:
        return read_expression(segment) if segment else None
    except UnreadableError:
        return None


def _ends_with_preposition(read: list[Token]) -> bool:
    return read[-1].kind is Kind.WORD and read[-1].text.lower() in PREPOSITIONS
