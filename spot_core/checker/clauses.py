"""What answers say beside the value: `for all real c`, `k \\in \\mathbb{Z}`, `\\pmod 7`."""

import re

_PARAMETER = re.compile(
    r"[\s,;]*\(?\s*(?:(?:where|with|for)\s+)?(?<![A-Za-z\\])(?P<name>[a-z])(?:\s*,\s*[a-z])*\s*\\in\s*\\mathbb\s*\{?\s*[NZQR]\s*\}?(?:\^\{?[+*]\}?|_\{[^{}]*\})?\s*\)?$"
)
_IN_WORDS = re.compile(
    r"[\s,;]*\(?\s*(?:where|with|for)\s+(?:(?:any|all|some|every|each|an|a|arbitrary)\s+)*(?:(?:real|positive|negative|non-?negative|integer|natural|constant|number|value)s?\s*)*(?P<name>[A-Za-z])?(?:\s+(?:is|being)\s+an?\s+(?:integer|constant|real number|arbitrary constant))?\s*\)?$"
)
_MODULUS = re.compile(
    r"(?P<residue>.*?)\s*\(?\s*(?:\\[pb]?mod|(?<![A-Za-z])mod)(?![A-Za-z])\s*(?:\{\s*(?P<a>\d+)\s*\}|(?P<b>\d+))\s*\)?$"
)

_CONGRUENT = re.compile(r"^\s*[a-zA-Z]\s*\\equiv\s*")


def without_clauses(answer: str, gold: str) -> tuple[str, str]:
    """Both without their clauses; a parameter gets the gold's letter, a modulus stays where both name another one."""
    answer, gold = _with_parameter_of(answer, gold)
    given, wanted = _MODULUS.fullmatch(answer), _MODULUS.fullmatch(gold)
    moduli = [match["a"] or match["b"] for match in (given, wanted) if match]
    if len(set(moduli)) > 1:
        return answer, gold
    return _residue(given) if given else answer, _residue(wanted) if wanted else gold


def _residue(match: re.Match[str]) -> str:
    return _CONGRUENT.sub("", match["residue"])


def _with_parameter_of(answer: str, gold: str) -> tuple[str, str]:
    values, names = [], []
    for text in (answer, gold):
        match = _PARAMETER.search(text) or _IN_WORDS.search(text)
        shortened = text[: match.start()] if match and match.start() > 0 else text
        values.append(shortened)
        names.append(match["name"] if match and shortened != text else None)
    if names[0] and names[1] and names[0] != names[1]:
        values[0] = re.sub(rf"(?<![A-Za-z\\]){names[0]}(?![A-Za-z])", names[1], values[0])
    return values[0], values[1]
