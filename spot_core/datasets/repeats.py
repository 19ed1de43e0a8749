"""Finds questions of a source that were asked before: in the same wording, or nearly so.

MinHash proposes pairs that look alike; what counts is their exact similarity, so hashing sets no question aside that
is not alike. Only questions with the same numbers and formulas are compared: "Compute 48+8." and "Compute 47+8."
differ in one character and are two questions.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from rapidfuzz.distance import Indel
from rensa import RMinHash, RMinHashLSH

from spot_core.datasets.wording import Wording, wording

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
