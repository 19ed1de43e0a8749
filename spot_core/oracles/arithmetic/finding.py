"""Finding the equations of a text: which tokens to the left and right of each `=` belong to it."""

from dataclasses import dataclass, field

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.expressions import Reading
from spot_core.oracles.arithmetic.reading import UnreadableError, read_expression
from spot_core.oracles.arithmetic.results import Result, as_result
from spot_core.oracles.arithmetic.tokens import Kind, Token, tokenize
from spot_core.oracles.arithmetic.words import PHRASE_WORDS, SCALE_WORDS

MAX_SEGMENT_TOKENS = 120  # to the left of one `=`

_DELIMITERS = (Kind.BREAK, Kind.EQUALS, Kind.OPEN_NOTE, Kind.CLOSE_NOTE)
_STARTS = (Kind.NUMBER, Kind.OPEN, Kind.FRACTION)
# Words that make what follows them a part of a longer expression.
_BINDING_WORDS = SCALE_WORDS | frozenset(["plus", "minus", "times", "over", "power", "than"])
_BINDING_AFTER = {
    "of": SCALE_WORDS | frozenset(("%",)),  # half of 5 + 3
    "by": frozenset(("divided", "multiplied")),
}


@dataclass
class _Chain:
    """Members of one equation while it is being read; None for a member that is not arithmetic."""

    members: list[Reading | None] = field(default_factory=list)

    def close(self) -> Equation | None:
        """The equation from its first readable expression on, or None if it has none or nothing to compare it with."""
        stated: list[Result] = []
        members: list[Reading | Result] = []
        for reading in self.members:
            if reading is None:
                if members:
                    break
                stated = []
                continue
            result = as_result(reading)
            if not members and (result is None or not reading.is_number):
                members.append(reading)
            elif not members:
                assert result is not None
                stated.append(result)
            elif result is None or (not reading.is_number and reading is not self.members[-1]):
                members.append(reading)
            else:
                members.append(result)
        if not members or len(members) + len(stated) < 2:
            return None
        return Equation(tuple(stated), tuple(members))


def find_equations(text: str) -> list[Equation]:
    """The readable equations of a text in the order in which they end."""
    return equations_in(tokenize(text))


def equations_in(all_tokens: list[Token]) -> list[Equation]:
    """The readable equations of a tokenized text."""
    tokens = _joined_lines(all_tokens)
    equations: list[Equation] = []
    chain = _Chain()
    index = 0

    def finish() -> None:
        nonlocal chain
        equation = chain.close()
        if equation is not None:
            equations.append(equation)
        chain = _Chain()

    while index < len(tokens):
        token = tokens[index]
        if token.kind is Kind.EQUALS:
            if not chain.members:
                chain.members.append(_left_member(tokens, index))
            if index + 1 < len(tokens) and tokens[index + 1].kind is Kind.OPEN_NOTE:
                index += 1
                continue
            stop = _segment_end(tokens, index + 1)
            reading = _whole(tokens, index + 1, stop)
            if stop < len(tokens) and tokens[stop].kind is Kind.EQUALS and reading is not None:
                chain.members.append(reading)
            else:
                chain.members.append(_right_member(tokens, index + 1, stop))
                finish()
            index = stop
        elif token.kind is Kind.OPEN_NOTE and (close := _note_end(tokens, index)) is not None:
            chain.members += _note_members(tokens, index + 1, close)
            stop = _segment_end(tokens, close + 1)
            if shown := _display(tokens, close + 1, stop):
                chain.members.append(shown)
            finish()
            index = close + 1
        else:
            if token.kind in _DELIMITERS:
                finish()
            index += 1
    finish()
    return equations


def _joined_lines(tokens: list[Token]) -> list[Token]:
    """The tokens without newlines next to an equals sign: aligned equations go on in the next line."""
    kept: list[Token] = []
    for position, token in enumerate(tokens):
        if token.kind is Kind.BREAK and token.text == "\n":
            before = position > 0 and tokens[position - 1].kind is Kind.EQUALS
            after = position + 1 < len(tokens) and tokens[position + 1].kind is Kind.EQUALS
            if before or after:
                continue
        kept.append(token)
    return kept


def _segment_end(tokens: list[Token], first: int) -> int:
    """Index of the first delimiter from `first` on, or the number of tokens."""
    index = first
    while index < len(tokens) and tokens[index].kind not in _DELIMITERS:
        index += 1
    return index


def _left_member(tokens: list[Token], equals: int) -> Reading | None:
    """The longest expression that ends at an equals sign and begins at the beginning of a phrase."""
    first = equals
    while first > 0 and tokens[first - 1].kind not in _DELIMITERS and equals - first < MAX_SEGMENT_TOKENS:
        first -= 1
    segment = tokens[first:equals]
    for start, token in enumerate(segment):
        signed = token.kind is Kind.OPERATOR and token.text == "-"
        if token.kind not in _STARTS and not (
            signed and (start == 0 or segment[start - 1].kind is Kind.OPEN)
        ):
            continue
        try:
            reading = read_expression(segment, start)
        except UnreadableError:
            continue
        if reading.tokens_read < len(segment) - start:
            continue
        at_beginning = start == 0 and (first == 0 or tokens[first - 1].kind in _DELIMITERS)
        if at_beginning or (start > 0 and _begins_phrase(segment, start)):
            return reading if at_beginning or not reading.is_number else None
    return None


def _begins_phrase(segment: list[Token], start: int) -> bool:
    """Whether what stands before an expression does not belong to it."""
    before = segment[start - 1]
    if before.kind in (Kind.OPEN, Kind.OPEN_BRACE):
        return True
    word = before.text.lower()
    if before.kind is not Kind.WORD or word in _BINDING_WORDS:
        return False
    if start > 1 and word in _BINDING_AFTER:
        head = segment[start - 2]
        return head.kind is Kind.WORD and head.text.lower() not in _BINDING_AFTER[word]
    # `5 feet 10 inches + …`: a quantity in two units.
    compound = start > 1 and segment[start - 2].kind is Kind.NUMBER and word not in PHRASE_WORDS
    return not compound


def _whole(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The expression that fills `tokens[first:stop]` exactly."""
    try:
        reading = read_expression(tokens[first:stop])
    except (UnreadableError, IndexError):
        return None
    return reading if reading.tokens_read == stop - first else None


def _right_member(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The expression that begins right after an equals sign, if it ends where a phrase can end."""
    segment = tokens[first:stop]
    if not segment:
        return None
    try:
        reading = read_expression(segment)
    except UnreadableError:
        return None
    rest = segment[reading.tokens_read :]
    if not rest or rest[0].kind in (Kind.CLOSE, Kind.CLOSE_BRACE, Kind.OPEN):
        return reading
    unit_words = reading.tokens_read - 1 if reading.is_number and reading.literals[0].minus is None else 0
    if unit_words > 1:
        return reading
    if rest[0].kind is Kind.WORD:
        goes_on = len(rest) > 1 and rest[1].kind in _STARTS and rest[0].text.lower() in _BINDING_WORDS
        return None if goes_on or rest[0].text.lower() in SCALE_WORDS else reading
    dash = rest[0].kind is Kind.OPERATOR and rest[0].text == "-"
    return reading if dash and len(rest) > 1 and rest[1].kind is Kind.WORD else None


def _note_end(tokens: list[Token], opening: int) -> int | None:
    """Index of the `>>` that closes an annotation on the same line."""
    for index in range(opening + 1, min(len(tokens), opening + MAX_SEGMENT_TOKENS)):
        if tokens[index].kind is Kind.CLOSE_NOTE:
            return index
        if tokens[index].kind is Kind.OPEN_NOTE or tokens[index].text == "\n":
            return None
    return None


def _note_members(tokens: list[Token], first: int, close: int) -> list[Reading | None]:
    """What stands between `<<` and `>>`; of a symbolic annotation only its value, if that is a number."""
    members: list[Reading | None] = []
    start = first
    for index in range(first, close + 1):
        if index == close or tokens[index].kind is Kind.EQUALS:
            members.append(_whole(tokens, start, index))
            start = index + 1
    if None in members:
        value = members[-1]
        return [value] if value is not None and value.is_number else []
    return members


def _display(tokens: list[Token], first: int, stop: int) -> Reading | None:
    """The number written right after an annotation; units may follow it."""
    segment = tokens[first:stop]
    signed = len(segment) > 1 and segment[0].kind is Kind.OPERATOR and segment[0].text == "-"
    length = 2 if signed else 1
    if len(segment) < length or segment[length - 1].kind is not Kind.NUMBER:
        return None
    if len(segment) > length and segment[length].kind is Kind.PERCENT:
        length += 1
    return _whole(tokens, first, first + length)
