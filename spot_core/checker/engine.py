"""Compares two expressions with math-verify on SymPy. Slow and killable: runs in the pool's workers only.

Only LaTeX parsing is used (a grammar). math-verify's parser for plain expressions evaluates text as Python, and its
own time limit needs SIGALRM: both stay off. What it finds is checked numerically: it rounds (two numbers below 1e-15 are equal to
it), and it reads words as products of letters.
"""

import logging
import re
from fractions import Fraction

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, MatrixBase, Number

from spot_core.checker.comparison import compare
from spot_core.checker.leaves import Decision, compare_leaves, decimal_of
from spot_core.checker.notation import has_prose, is_words, normalised
from spot_core.checker.quantity import read_quantity
from spot_core.checker.scorers import within
from spot_core.checker.units import measure_of

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off

_LATEX_ONLY = [LatexExtractionConfig(boxed_match_priority=-1)]
_PYTHON_EXPONENT = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,4})(?![A-Za-z\d])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_TRAILING_UNIT = re.compile(
    r"(?P<math>.*?[\d})\]!a-z])\s+(?P<unit>(?:(?:square|cubic|sq\.?|cu\.?) )?[A-Za-z]{2,}(?:\s*\^\s*\{?[23]\}?)?)",
    re.DOTALL,
)
_COUNTED = frozenset(["unit", "square unit", "cubic unit", "sq unit", "degree", "radian", "way", "time"])
DIGITS = 30
"""Decimal digits of numeric comparisons; answers are a few powers and roots, so that many are right."""
TOLERANCE = 10.0 ** -(DIGITS // 2)
FLOAT_TOLERANCE = 1e-9
"""For expressions with a decimal in them, such as 2^{0.5}."""
SUFFICIENT_DIGITS = 6
"""A decimal with at least so many significant digits may stand for an irrational number."""
_SAMPLES = ("0.7390851332", "1.3247179572", "0.3678794412")
"""Values for variables: positive, none of them special."""


def compare_with_sympy(answer: str, gold: str) -> Decision:
    """The decision on two answers that the fast rules could not tell apart."""
    outcome = compare(answer, gold, _leaf)
    assert outcome is not None, "every expression is decided by this leaf"
    return outcome


def compare_values(answer: str, gold: str, tolerance: float) -> Decision:
    """Whether the value of an answer is within a relative tolerance of the gold's; both may be expressions."""
    values = [_value(_without_unit(normalised(text))) for text in (answer, gold)]
    if values[1] is None:
        return "ambiguous", "gold_is_no_number"
    if values[0] is None:
        words = is_words(normalised(answer))
        return ("incorrect" if words else "ambiguous"), ("words" if words else "answer_is_no_number")
    return ("correct" if within(*values, tolerance) else "incorrect"), "tolerance"


def _value(text: str) -> Fraction | None:
    if (quantity := read_quantity(text)) is not None:
        return quantity.value
    parsed = None if has_prose(text) else _parsed(text.rpartition("=")[2])
    if not isinstance(parsed, Expr) or parsed.free_symbols:
        return None
    value = _number(parsed, {})
    return Fraction(str(value)) if value is not None and value.is_real else None


def _leaf(answer: str, gold: str) -> Decision:
    return compare_leaves(answer, gold) or _compare_expressions(_without_unit(answer), _without_unit(gold))


def _compare_expressions(answer: str, gold: str) -> Decision:
    if (simple := compare_leaves(answer, gold)) is not None:
        return simple
    for text, where in ((gold, "gold"), (answer, "answer")):
        if has_prose(text):
            # A sentence or a name was already compared as text; what a grammar for formulas makes of it is noise.
            certain = is_words(text) and not has_prose(gold if where == "answer" else answer)
            return ("incorrect" if certain else "ambiguous"), "words"
    parsed_gold, parsed_answer = _parsed(gold), _parsed(answer)
    if parsed_gold is None:
        return "ambiguous", "unparsed_gold"
    if parsed_answer is None:
        return "ambiguous", "unparsed_answer"
    try:
        equal = verify(parsed_gold, parsed_answer, timeout_seconds=None, raise_on_error=True)
        return _checked(equal, parsed_answer, parsed_gold, answer, gold)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - SymPy raises errors of any type on expressions it cannot handle
        return "ambiguous", f"sympy_error:{type(error).__name__}"


def _checked(
    equal: bool, answer: Basic | MatrixBase, gold: Basic | MatrixBase, text: str, gold_text: str
) -> Decision:
    """math-verify's opinion after a look at the numbers."""
    close = _numerically_equal(answer, gold)
    if close is None:
        return ("correct" if equal else "incorrect"), "sympy"
    if close:
        # Equal at a few points only is a strong hint, no proof: |x| and x agree wherever x is positive.
        proven = equal or not gold.free_symbols
        return ("correct" if proven else "ambiguous"), ("sympy" if equal else "numeric_samples")
    if _is_approximation(text, gold) or _is_approximation(gold_text, answer):
        return "ambiguous", "approximation"
    return "incorrect", "sympy"


def _numerically_equal(first: Basic | MatrixBase, second: Basic | MatrixBase) -> bool | None:
    """Whether two expressions have the same values; None where they have none that can be compared."""
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return None
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(symbols) > len(_SAMPLES):
        return None
    tolerance = FLOAT_TOLERANCE if first.atoms(Float) or second.atoms(Float) else TOLERANCE
    for shift in range(len(_SAMPLES) if symbols else 1):
        values = {s: Number(_SAMPLES[(i + shift) % len(_SAMPLES)]) for i, s in enumerate(symbols)}
        here, there = _number(first, values), _number(second, values)
        if here is None or there is None:
            return None
        if abs(here - there) > tolerance * max(abs(here), abs(there)):
            return False
    return True


def _number(expression: Expr, values: dict[Basic, Number]) -> Expr | None:
    value = expression.doit().evalf(DIGITS, subs=values)
    return value if value.is_number and value.is_finite and abs(value).is_comparable else None


def _is_approximation(decimal: str, exact: Basic | MatrixBase) -> bool:
    """Whether a decimal is the rounded (or cut) value of an expression."""
    quantity = decimal_of(decimal)
    if quantity is None or not isinstance(exact, Basic) or exact.free_symbols or not exact.is_real:
        return False
    step = 10.0**-quantity.decimals
    return abs(float(exact.evalf()) - float(quantity.value)) < step


def _parsed(answer: str) -> Basic | MatrixBase | None:
    expressions = parse(
        _as_latex(answer), extraction_config=_LATEX_ONLY, fallback_mode="no_fallback", parsing_timeout=None
    )
    return expressions[0] if expressions else None


def _as_latex(answer: str) -> str:
    """The normalised answer as one display formula."""
    answer = answer.replace("°", r"^{\circ}").replace("$", " ").replace("%", r"\%").replace("...", r"\ldots ")
    answer = _PYTHON_EXPONENT.sub(r"\1 \\times 10^{\2}", answer)
    answer = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), answer)
    return f"${answer}$"


def _without_unit(text: str) -> str:
    """`4\\pi cm^{2}` without the unit; a lone number with its unit is compared before."""
    match = _TRAILING_UNIT.fullmatch(text)
    if match is None or read_quantity(text) is not None:
        return text
    unit = match["unit"].casefold()
    known = unit.rstrip("s") in _COUNTED or measure_of(match["unit"]) is not None
    return match["math"] if known else text
