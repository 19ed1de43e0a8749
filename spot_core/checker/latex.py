"""Prepares normalised expressions for math-verify's LaTeX grammar, and parses them with it."""

import re

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse
from sympy import Basic, MatrixBase

from spot_core.checker.quantity import read_quantity
from spot_core.checker.units import measure_of

_CLEANING = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
)
"""Without its removal of units, to which the variables of 4mgR are some."""
_LATEX_ONLY = [LatexExtractionConfig(boxed_match_priority=-1, normalization_config=_CLEANING)]
_PYTHON_EXPONENT = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,4})(?![A-Za-z\d])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_TRAILING_UNIT = re.compile(
    r"(?P<math>.*?[\d})\]!a-z])\s+(?P<unit>(?:(?:square|cubic|sq\.?|cu\.?) )?[A-Za-z]{2,}(?:\s*\^\s*\{?[23]\}?)?)",
    re.DOTALL,
)
_COUNTED = frozenset(["unit", "square unit", "cubic unit", "sq unit", "degree", "radian", "way", "time"])
_ANGULAR = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|pi)(?![A-Za-z])")
_DEGREES = re.compile(r"\{?(\d+(?:\.\d+)?)\}?\s*°")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+")
_LETTER = re.compile("[A-Za-z]")
_COMMAND_OR_LETTER = re.compile(rf"{_COMMAND.pattern}|[A-Za-z]")
_ACCENTED = re.compile(r"\\(vec|hat|tilde|bar|overrightarrow)\{([A-Za-z])\}")
_RENAMED_GREEK = re.compile(r"\\(gamma|beta|Gamma|Delta|Theta|Lambda|Phi|Psi|Omega|Sigma)(?![A-Za-z])")
"""Names of their own for these: the parser drops accents, knows no capitals, and takes some letters for functions."""
_LETTERS = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}(?:\{[^{}]*\})?|\\[A-Za-z]+|[A-Za-z]{2,}")


def read_formula(answer: str) -> Basic | MatrixBase | None:
    expressions = parse(
        as_latex(answer), extraction_config=_LATEX_ONLY, fallback_mode="no_fallback", parsing_timeout=None
    )
    return expressions[0] if expressions else None


def as_latex(answer: str) -> str:
    """The normalised answer as one display formula."""
    answer = answer.replace("°", r"^{\circ}").replace("$", " ").replace("%", r"\%").replace("...", r"\ldots ")
    answer = _ACCENTED.sub(lambda found: rf"\Xi_{{{1000 * len(found[1]) + ord(found[2])}}} ", answer)
    answer = _RENAMED_GREEK.sub(lambda found: rf"\Xi_{{{sum(map(ord, found[1]))}}} ", answer)
    answer = _LETTERS.sub(lambda found: found[0] if found[0][0] == "\\" else " ".join(found[0]), answer)
    answer = answer.replace("E_", r"\Xi_")  # the grammar takes E for Euler's number, which has no index
    answer = _PYTHON_EXPONENT.sub(r"\1 \\times 10^{\2}", answer)
    answer = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), answer)
    return f"${answer}$"


def in_radians(*texts: str) -> tuple[str, ...]:
    """With degrees as multiples of π where a function of an angle or π itself shows that they are angles."""
    if not any(_ANGULAR.search(text) for text in texts):
        return texts
    return tuple(_DEGREES.sub(r"\\frac{\1\\pi}{180}", text) for text in texts)


def without_unit(text: str) -> str:
    """`4\\pi cm^{2}` without the unit; a lone number with its unit is compared before."""
    match = _TRAILING_UNIT.fullmatch(text)
    if match is None or read_quantity(text) is not None:
        return text
    unit = match["unit"].casefold()
    known = unit.rstrip("s") in _COUNTED or measure_of(match["unit"]) is not None
    return match["math"] if known else text


def variables_of(text: str) -> set[str]:
    """The letters that stand for variables."""
    return set("".join(_LETTER.findall(_COMMAND.sub(" ", text))))


def distinct_capitals(answer: str, gold: str) -> tuple[str, str]:
    """With other names for capitals whose small letter occurs too."""
    letters = variables_of(answer) | variables_of(gold)
    doubled = {letter for letter in letters if letter.isupper() and letter.lower() in letters}
    if not doubled:
        return answer, gold

    def renamed(found: re.Match[str]) -> str:
        return rf"\Xi_{{{ord(found[0])}}} " if found[0] in doubled else found[0]

    return tuple(_COMMAND_OR_LETTER.sub(renamed, text) for text in (answer, gold))
