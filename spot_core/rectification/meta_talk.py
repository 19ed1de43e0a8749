"""Finds talk about the repair in a repaired solution: phrases of the request, of a corrector, or markers. English."""

import re
from collections.abc import Sequence

_WORK = r"(?:solution|answer|response|work|reasoning|attempt|version|calculation|step)s?"
_EDITED = r"(?:corrected|repaired|rectified|revised|edited|amended)"
_FAULTY = r"(?:incorrect|wrong|erroneous|flawed|mistaken|faulty)"

# A phrase counts unless the question or the response has the very same one.
_PHRASES = (
    r"(?:reference|gold|golden|ground.truth|expected|provided|official) (?:answer|solution)s?",
    r"(?:answer key|ground truth)",
    rf"student(?:['’]s)? (?:\w+ )?{_WORK}",
    rf"{_EDITED} (?:\w+ )?{_WORK}",
    r"here(?:['’]s| is| are) (?:the|a|an|my|your) (?:\w+ ){0,2}(?:solution|answer|response|version|edit|repair|correction)s?",
    r"(?:original|previous|earlier) response",
    r"original solution (?:is|was|has|had|made|used|says|said|wrongly|incorrectly|mistakenly|forgot|assum\w+|calculat\w+|comput\w+)",
    rf"(?:fix|fixed|fixing|correct|corrected|correcting|repair|repaired|repairing) (?:the|this|that|my|an?) (?:\w+ )?(?:mistake|error|{_WORK})",
    r"(?:minimal|smallest) (?:edit|correction|repair)s?",
    r"as instructed|(?:per|following|according to) (?:the|your) instructions",
    r"(?:match(?:es)?|agree(?:s)? with|consistent with) the (?:given|correct) (?:answer|solution)",
    r"I(?: have|['’]ve)? (?:corrected|repaired|rectified|revised|edited|amended)",
    r"let(?:['’]s| me| us) (?:correct|revise|rectify)",
    r"should (?:be|have been) \S{0,8}\d\S{0,12} (?:not|instead of|rather than)",
)
# A word counts with what stands around it, but only if neither the question nor the response has the word itself:
# a bill may hold a mistake, and a quiz may punish wrong answers.
_WORDS = {
    r"mistakes?": r"(?:the|a|this|that|my) (?:\w+ )?mistakes?|mistakes? (?:is|was|in|of|here)",
    r"errors?": rf"errors? (?:in|of|with) (?:the|this|that|my) (?:\w+ )?{_WORK}|made an? (?:\w+ )?error",
    _FAULTY: rf"(?:the|this|that) {_FAULTY} {_WORK}|instead of (?:the )?{_FAULTY}",
    r"correction|corrected|repaired|rectified": r"(?m:^)[^\w\n]{0,8}(?:correction|corrected|repaired|rectified)[^\w\n]{0,4}:",
}
_MARKER = re.compile(
    r"<<<[^<>\n]{1,40}>>>|\bEND OF RECTIFIED\b|\[/?RECTIFIED\]|</?(?:rectified|corrected)\b[^<>\n]*>"
)


def _pattern(phrase: str) -> re.Pattern[str]:
    """Any white space may stand between its words."""
    return re.compile(rf"(?:\b|(?m:^))(?:{phrase})(?!\w)".replace(" ", r"\s+"), re.IGNORECASE)


_PHRASE = _pattern("|".join(_PHRASES))
_WORD_PATTERNS = [(_pattern(word), _pattern(around)) for word, around in _WORDS.items()]


def meta_phrases(text: str, *, known: Sequence[str]) -> list[str]:
    """The telling phrases of a text as they stand there, except what the `known` texts (question, y⁻) hold too."""
    spelled = [_spelled(source) for source in known]

    def is_new(phrase: str) -> bool:
        return all(_spelled(phrase) not in source for source in spelled)

    found = [match.group() for pattern in (_MARKER, _PHRASE) for match in pattern.finditer(text)]
    for word, around in _WORD_PATTERNS:
        if not any(word.search(source) for source in known):
            found += [match.group() for match in around.finditer(text)]
    return [phrase for phrase in found if is_new(phrase)]


def _spelled(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())
