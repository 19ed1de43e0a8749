"""Compares two answers with math-verify on SymPy. Slow and killable: runs in the pool's workers only.

Only LaTeX parsing is used (a grammar). math-verify's parser for plain expressions evaluates text as Python, and its
own time limit needs SIGALRM: both stay off.
"""

import logging
import re

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, MatrixBase

from spot_core.checker.comparison import Decision
from spot_core.checker.notation import is_words, normalised, strip_delimiters

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off

_LATEX_ONLY = [LatexExtractionConfig(boxed_match_priority=-1)]
_PYTHON_EXPONENT = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,4})(?![A-Za-z\d])")
_INNER_DELIMITER = re.compile(r"(?<!\\)\$|\\[(\[]")
_LIST_WORD = re.compile(r",?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|(?<=\))or(?=\())\s*")


def compare_with_sympy(answer: str, gold: str) -> Decision:
    """The decision on two answers that the fast rules could not tell apart."""
    parsed_gold, parsed_answer = _parsed(gold), _parsed(answer)
    if parsed_gold is None:
        # A gold that is no mathematics (a sentence, a name) was already compared as text.
        return ("incorrect", "text") if is_words(normalised(gold)) else ("ambiguous", "unparsed_gold")
    if parsed_answer is None:
        return ("incorrect", "words") if is_words(normalised(answer)) else ("ambiguous", "unparsed_answer")
    try:
        equal = verify(parsed_gold, parsed_answer, timeout_seconds=None, raise_on_error=True)
    except Exception as error:  # noqa: BLE001 - SymPy raises errors of any type on expressions it cannot handle
        return "ambiguous", f"sympy_error:{type(error).__name__}"
    return ("correct" if equal else "incorrect"), "sympy"


def _parsed(answer: str) -> Basic | MatrixBase | None:
    expressions = parse(
        _as_latex(answer), extraction_config=_LATEX_ONLY, fallback_mode="no_fallback", parsing_timeout=None
    )
    return expressions[0] if expressions else None


def _as_latex(answer: str) -> str:
    """The answer as one display formula."""
    answer = strip_delimiters(answer)
    answer = _INNER_DELIMITER.sub(" ", answer).replace(r"\)", " ").replace(r"\]", " ")
    answer = _PYTHON_EXPONENT.sub(r"\1 \\times 10^{\2}", answer)
    answer = answer.replace("<=", r"\leq ").replace(">=", r"\geq ").replace("!=", r"\neq ")
    answer = _LIST_WORD.sub(", ", answer)
    return f"${answer}$"
