"""Finds edits that write another final value under reasoning that still leads to the old one.

Judged conservatively: an edit is named only on evidence that the old value is what the kept reasoning arrives at, and
never where the reasoning arrives at the new one or where the statement of the answer is a step by itself.
"""

import re
from fractions import Fraction

from spot_core.change_ratio import edit_regions
from spot_core.checker.notation import normalised, same_spelling
from spot_core.checker.quantity import read_quantity
from spot_core.oracles.calculator import Token, chain_at, number_at, tokenize
from spot_core.rectification.endings import Ending, read_ending

SHORTEST_FORMULA = 3
"""Characters of a formula or word that can be looked for in a text; shorter ones stand everywhere."""

_MATHS = frozenset(("number", "operator", "equals", "symbol"))
_LISTED = re.compile(r"[^\n.]{0,30}\b(?:or|and)\b[^\n.]{0,30}|,[^\n.+*/]{0,12}")
"""Between two values that are named as alternatives: `x = 7 or x = `."""
_LAST_SENTENCE = re.compile(r"(?:.*(?:\n|[.!?;]\s))?", re.DOTALL)
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°")
_AT_EQUALS = re.compile(r"(?:=|≈|\\approx)[\s$&\\({]*\Z")
_LETTER = re.compile(r"[\W_]{0,4}(?:\\(?:text|mathrm|mathbf)\w{0,6}\{)?\W{0,4}([A-Za-z])\W{0,6}")
_SPACING = re.compile(r"\\(?:left|right|[,;:! ])|\$")
_FREE_BLANK = re.compile(r"\s+(?=\W)|(?<=\W)\s+")


def is_answer_only(rejected: str, chosen: str, question: str) -> bool:
    """Whether y⁺ differs from y⁻ in the final value alone, while what leads up to it still leads to the old value.

    Numbers of the `question` in the sentence that states the answer are labels (`the measure of angle 2 is`).
    """
    # With blanks in place of degree signs, which would look like powers.
    old, new = (read_ending(_DEGREES.sub(_blanks, text)) for text in (rejected, chosen))
    if old is None or new is None or same_spelling(normalised(old.answer), normalised(new.answer)):
        return False
    old_value, new_value = _number(old.answer), _number(new.answer)
    if old_value is None or new_value is None:
        return _ends_in_old_text(old, new)
    tokens = tokenize(new.reasoning)
    edited = _edited_numbers(tokenize(old.reasoning), tokens)
    if old_value == new_value or not edited <= {abs(old_value), abs(new_value)}:
        return False
    is_result = _AT_EQUALS.search(new.reasoning) is not None
    if (edited or is_result) and _overwrites_a_result(new, old_value, new_value):
        return True
    if is_result and any(token.kind == "operator" for token in _left_side(tokens)):
        return False  # the answer is the result of a step of its own
    given = {token.value for token in tokenize(question) if token.value is not None}
    return _ends_in_old_number(
        new.reasoning, tokens, old_value, new_value, given=given, numbers_tell=not edited and not is_result
    )


def _blanks(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _number(answer: str) -> Fraction | None:
    """The value of an answer that is one written number, with sign and unit or not."""
    quantity = read_quantity(normalised(answer))
    written = [token.value for token in tokenize(answer) if token.value is not None]
    return quantity.value if quantity is not None and written == [abs(quantity.value)] else None


def _edited_numbers(old: list[Token], new: list[Token]) -> set[Fraction | None]:
    """Numbers that the edit takes out of the reasoning or puts into it; None for anything else that computes."""
    sides = [[token for token in tokens if token.kind in _MATHS] for tokens in (old, new)]
    keys = [
        [(token.kind, token.text if token.value is None else token.value) for token in side] for side in sides
    ]
    return {
        token.value
        for region in edit_regions(*keys)
        for token in (
            *sides[0][region.rejected_start : region.rejected_end],
            *sides[1][region.chosen_start : region.chosen_end],
        )
    }


def _overwrites_a_result(new: Ending, old_value: Fraction, new_value: Fraction) -> bool:
    """Whether y⁺ writes the new value behind an expression that is the old one: `80 - 48 = 64` for `80 - 48 = 32`."""
    tokens = tokenize(new.stated)
    for index in range(len(tokens)):
        if tokens[index - 1].kind in ("operator", "equals"):
            continue
        members, _ = chain_at(tokens, index)
        if new_value not in [member.numbers[0].value for member in members[1:] if not member.operators]:
            continue
        try:
            exact = [member.value() for member in members if member.operators]
        except ArithmeticError:
            continue
        if old_value in exact and new_value not in exact:
            return True
    return False


def _ends_in_old_number(
    text: str,
    tokens: list[Token],
    old_value: Fraction,
    new_value: Fraction,
    *,
    given: set[Fraction],
    numbers_tell: bool,
) -> bool:
    """Whether the last result of the reasoning `text` is the old value; without results, its last number.

    `numbers_tell`: a number that is no result is evidence too.
    """
    results = [(value, end) for value, end in _results(tokens) if value in (old_value, new_value)]
    statement = _sentence_of_statement(text)
    numbers = [
        (token.value, token.start)
        for token in tokens
        if token.value is not None and not (token.start >= statement and token.value in given)
    ]
    if not results:
        last_number = numbers[-1][0] if numbers else None
        return numbers_tell and last_number == abs(old_value) and old_value != -new_value
    last, position = results[-1]
    step_in_words = any(
        start >= max(position, statement) and value not in (abs(old_value), abs(new_value))
        for value, start in numbers
    )
    if last == new_value or step_in_words:
        return False
    others = [end for value, end in results if value == new_value]
    return not (others and _LISTED.match(text, others[-1], position))


def _results(tokens: list[Token]) -> list[tuple[Fraction, int]]:
    """Value and end of every number that stands right of an equals sign or an annotation and is no operand."""
    found = []
    for index, token in enumerate(tokens):
        if token.kind == "equals" and (number_and_end := number_at(tokens, index + 1)):
            number, end = number_and_end
            if tokens[end].kind != "operator":
                found.append((number.value, number.end))
    return found


def _left_side(tokens: list[Token]) -> list[Token]:
    """What stands to the left of the last equals sign, up to the one before it or the beginning of its phrase."""
    equals = max((index for index, token in enumerate(tokens) if token.kind == "equals"), default=0)
    first = equals
    while first and tokens[first - 1].kind not in ("equals", "break"):
        first -= 1
    return tokens[first:equals]


def _sentence_of_statement(text: str) -> int:
    """Where the sentence begins that states the answer, if it is one with the end of the reasoning."""
    match = _LAST_SENTENCE.match(f"{text}\n" if text.endswith((".", "!", "?")) else text)
    assert match is not None
    return match.end()


def _ends_in_old_text(old: Ending, new: Ending) -> bool:
    """The same for answers that are formulas, words or options: which one the kept reasoning names last."""
    text = _compact(new.reasoning)
    if text != _compact(old.reasoning):
        return False
    named_old, named_new = _last_named(old.answer, text), _last_named(new.answer, text)
    return named_old is not None and (named_new is None or named_new < named_old)


def _last_named(answer: str, text: str) -> int | None:
    if letter := _LETTER.fullmatch(answer):
        name = rf"(?:\b(?:option|choice|answer)(?: is)?\W{{0,3}}|\(){letter[1]}(?![A-Za-z])"
    elif len(answer := _compact(answer)) >= SHORTEST_FORMULA:
        name = rf"(?<![A-Za-z\d.]){re.escape(answer)}(?![A-Za-z\d]|\.\d)"
    else:
        return None
    return max((match.start() for match in re.finditer(name, text, re.IGNORECASE)), default=None)


def _compact(text: str) -> str:
    """Without the spacing that LaTeX ignores; one blank between words."""
    text = _SPACING.sub(" ", text).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
    return _FREE_BLANK.sub("", " ".join(text.split()))
