"""Multiple choice: which letters an answer names, `(B)`, `B) 12`, `option b`, `A, C`."""

import re

_MARKED = re.compile(
    r"(?:(?:the )?(?:correct )?(?:option|choice|answer)s?\s*(?:is|are)?\s*:?\s*)?"
    r"(?:\(\s*(?P<a>[A-Za-z])\s*\)|\[(?P<b>[A-Za-z])\]|(?P<c>[A-Za-z])(?=[).:]|$))[).:]?(?P<content>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(r"\(?[A-Z]\)?(?:(?:\s*(?:,|;|&|and|or)\s*|\s+)\(?[A-Z]\)?)+|[A-Z]{2,6}")


def chosen_letter(answer: str) -> tuple[str, str] | None:
    """The capital letter that a normalised answer begins with as an option's mark, and the text after it."""
    match = _MARKED.fullmatch(answer)
    if match is None:
        return None
    return (match["a"] or match["b"] or match["c"]).upper(), match["content"].strip()


def chosen_letters(answer: str) -> frozenset[str] | None:
    """All letters that a normalised answer names, None where it names no option."""
    if _SEVERAL.fullmatch(answer):
        return frozenset(re.findall(r"[A-Z]", re.sub(r"\b(?:and|or)\b", "", answer)))
    one = chosen_letter(answer)
    return None if one is None else frozenset(one[0])
