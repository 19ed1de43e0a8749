"""Finds questions that were asked before: in the same wording, or nearly so.

A text becomes tokens of two kinds, whatever its case, white space, punctuation and LaTeX spacing. *Words* may differ a
little between two versions of a question. *Marks* may not: with another number, operator, bracket, LaTeX command,
variable or negation it is another question ("Compute 48+8." and "Compute 47+8." differ in one character). MinHash
proposes pairs that look alike; their exact similarity decides, so hashing sets no question aside that is not alike.
"""

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby

from rapidfuzz.distance import Indel
from rensa import RMinHash, RMinHashLSH

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


HASHES = 256
"""Hash functions of a MinHash; bands of them find alike questions."""
MOST_MISSED = 0.01
"""Share of the pairs exactly at the threshold that hashing may overlook; of closer pairs far fewer."""
MOST_COMPARED = 100
"""Pairs compared per question of a block. Questions that resemble more others are a family made from one template: to
compare all their pairs would take hours and show that they differ."""


@dataclass(frozen=True)
class Asked:
    """A question with its answer, and the line where it stands first."""

    line: int
    question_id: str
    question: str
    answer: str


@dataclass
class Repeats:
    """What was found."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Why a question is set aside, by question_id."""
    near_conflicts: list[tuple[int, int]] = field(default_factory=list)
    """Lines of two questions in nearly the same words but with different answers; both are kept."""
    not_compared: int = 0
    """Questions of large families from one template that were not looked at for near-duplicates."""


def find_repeats(asked: list[Asked], *, threshold: float) -> Repeats:
    """Decides which questions are set aside, in favour of the first of their kind.

    Questions in the same wording with different answers contradict each other: all of them are set aside. If the
    wording is only nearly the same, another answer says that one word made the difference ("up quarks", "down
    quarks"): both are kept, and reported.

    Args:
        asked: different pairs of question and answer, in the order of their lines.
        threshold: least share of words in common for questions to count as nearly the same; 0 compares questions
            letter by letter and nothing else.
    """
    repeats = Repeats()
    if not threshold:
        _same(asked, str, repeats)
        return repeats
    said = {one.question_id: wording(one.question) for one in asked}
    first = _same(asked, lambda text: wording(text).tokens, repeats)
    blocks: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
    for one in first:
        blocks[said[one.question_id].marks].append(one)
    for block in blocks.values():
        if len(block) > 1:
            _near(block, said, threshold, repeats)
    return repeats


def _same(asked: list[Asked], form: Callable[[str], Hashable], repeats: Repeats) -> list[Asked]:
    """Returns the first of each group of questions that have one form, unless their answers differ."""
    groups: dict[Hashable, list[Asked]] = defaultdict(list)
    for one in asked:
        groups[form(one.question)].append(one)
    kept = []
    for first, *others in groups.values():
        if others and len({form(one.answer) for one in (first, *others)}) > 1:
            found = ", ".join(f"{one.answer!r} (line {one.line})" for one in (first, *others))
            reason = f"conflict: the same question has the answers {found}"
            repeats.reasons |= {one.question_id: reason for one in (first, *others)}
            continue
        kept.append(first)
        reason = f"duplicate: the same as line {first.line} up to case, spacing and punctuation"
        repeats.reasons |= {one.question_id: reason for one in others}
    return kept


def _near(block: list[Asked], said: dict[str, Wording], threshold: float, repeats: Repeats) -> None:
    """Compares questions with the same numbers and formulas; each with those kept before it."""
    index = RMinHashLSH(threshold=threshold, num_perm=HASHES, num_bands=bands(threshold))
    answers = [wording(one.answer).tokens for one in block]
    compared = 0
    for number, one in enumerate(block):
        words = said[one.question_id].words
        sketch = RMinHash(num_perm=HASHES, seed=0)
        sketch.update(list(_counted(words)))
        # Those with the same answer first: only they can set this one aside.
        like = sorted(index.query(sketch), key=lambda other: (answers[other] != answers[number], other))
        compared += len(like)
        if compared > MOST_COMPARED * len(block):
            repeats.not_compared += len(block) - number
            return
        for other in like:
            similarity = Indel.normalized_similarity(words, said[block[other].question_id].words)
            if similarity < threshold:
                continue
            if answers[other] == answers[number]:
                repeats.reasons[one.question_id] = (
                    f"near_duplicate: {similarity:.2f} of the words are those of line {block[other].line}, with the "
                    "same numbers, formulas and answer"
                )
            else:
                repeats.near_conflicts.append((block[other].line, one.line))
            break
        if one.question_id not in repeats.reasons:
            index.insert(number, sketch)


def bands(threshold: float) -> int:
    """Into how many bands the hashes are cut: as few, for speed, as `MOST_MISSED` allows.

    Sequences of which a share s is common have a Jaccard index of at least s / (2 − s) between their counted words.
    """
    jaccard = threshold / (2 - threshold)
    count = 1
    while (1 - jaccard ** (HASHES // count)) ** count > MOST_MISSED:
        count *= 2
    return count


def _counted(words: tuple[str, ...]) -> Iterator[str]:
    """Words with their number of occurrence, so that a set of them remembers how often each came."""
    seen: dict[str, int] = defaultdict(int)
    for word in words:
        seen[word] += 1
        yield f"{seen[word]} {word}"
