"""Brings an answer into one spelling: cosmetics of LaTeX, Unicode and prose go, the mathematics stays."""

import re

_DELIMITED = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|\$(?P<b>[^$]+)\$|\\\((?P<c>.+)\\\)|\\\[(?P<d>.+)\\\]", re.DOTALL
)
_TEXT_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|hbox|mathrm|mathbf|mathit|mathsf|operatorname|textnormal)\s*\{([^{}]*)\}"
)
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])", ""),
        (r"\\(?:displaystyle|textstyle|limits|nolimits)(?![A-Za-z])", ""),
        (r"\\[!,;:>]|\\(?=\s)|~|\\q?quad(?![A-Za-z])", " "),
        (r"\{,\}", ","),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\([%$#&_])", r"\1"),
        (r"\\leq?(?![A-Za-z])|<=|≤", r"\\leq "),
        (r"\\geq?(?![A-Za-z])|>=|≥", r"\\geq "),
        (r"\\neq?(?![A-Za-z])|!=|≠", r"\\neq "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", "°"),
        (r"\\(?:cdot|times)(?![A-Za-z])|×|·", r"\\times "),
        (r"\\pi(?![A-Za-z])|π", r"\\pi "),
        (r"√", r"\\sqrt "),
        (r"∞", r"\\infty "),
        (r"[−–‐‑]", "-"),
        (r"[\u00a0\u2009\u202f\u200b]", " "),
    )
]
_INLINE = re.compile(r"(?<!\\)\$([^$]*[^$\\])\$|\\\((.*?)\\\)", re.DOTALL)
_DELIMITER = re.compile(r"(?<!\\)\$+|\\[()\[\]]")
_OPTION_LETTER = re.compile(r"\(([A-Za-z])\)")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' .-]*[A-Za-z]")


def strip_delimiters(answer: str) -> str:
    """Without the `$`, `$$`, `\\(` or `\\[` that enclose the whole answer."""
    answer = answer.strip()
    if match := _DELIMITED.fullmatch(answer):
        inner = next(group for group in match.groups() if group is not None).strip()
        if not _DELIMITER.search(inner):
            return inner
    return answer


def normalised(answer: str) -> str:
    """The answer in one spelling, for comparing and for reading numbers; words keep their spaces."""
    answer = strip_delimiters(answer)
    answer = _INLINE.sub(lambda found: f" {found[1] or found[2]} ", answer)
    for pattern, replacement in _SPELLINGS:
        answer = pattern.sub(replacement, answer)
    while (unwrapped := _TEXT_COMMAND.sub(r" \1 ", answer)) != answer:
        answer = unwrapped
    answer = " ".join(answer.split()).rstrip(".,; ")
    if match := _OPTION_LETTER.fullmatch(answer):
        return match[1]
    return answer


def same_spelling(first: str, second: str) -> bool:
    """Whether two normalised answers differ in white space only, or in capitals where they are words."""
    first, second = first.replace(" ", ""), second.replace(" ", "")
    return first == second or (is_words(first) and is_words(second) and first.casefold() == second.casefold())


def is_words(answer: str) -> bool:
    """Whether the normalised answer is plain words: at least two letters, no digit, no LaTeX, no operator."""
    return _WORDS.fullmatch(answer) is not None
