"""Compares two expressions with math-verify on SymPy. Slow and killable: runs in the pool's workers only.

Only LaTeX parsing is used (a grammar). math-verify's parser for plain expressions evaluates text as Python, and its own time
limit needs SIGALRM: both stay off. What it finds is checked numerically (`values`).
"""

import logging
import re
from fractions import Fraction

from math_verify import verify
from sympy import Basic, Equality, Expr, MatrixBase, cancel, expand
from sympy.core.function import AppliedUndef

from spot_core.checker.comparison import compare
from spot_core.checker.latex import distinct_capitals, in_radians, read_formula, variables_of, without_unit
from spot_core.checker.leaves import compare_leaves
from spot_core.checker.notation import has_prose, is_words, normalised
from spot_core.checker.quantity import read_quantity
from spot_core.checker.scorers import within
from spot_core.checker.values import (
    digits_of_approximation,
    equal_at_integers,
    number_of,
    numerically_equal,
    same_solutions,
    same_symbols,
)
from spot_core.checker.verdict import Decision
from spot_core.checker.words import mentions_number

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off

_DOTS = re.compile(r"\.\.\.")
_UNKNOWN = re.compile(r"!!|\\(?:gcd|lcm|max|min|zeta|Gamma|operatorname)(?![A-Za-z])")
_CHANGES = re.compile(
    r"\^\{?(?:T|\\top|\\dagger|\\ast|\*)\}?(?![a-z])|[A-Za-z]'|\\d?dot(?![A-Za-z])|\\frac\{ ?d|\\partial"
)
SUFFICIENT_DIGITS = 6
"""A decimal with at least so many significant digits may stand for an irrational number."""


def compare_with_sympy(answer: str, gold: str) -> Decision:
    """The decision on two answers that the fast rules could not tell apart."""
    outcome = compare(answer, gold, _leaf)
    assert outcome is not None, "every expression is decided by this leaf"
    return outcome


def compare_values(answer: str, gold: str, tolerance: float) -> Decision:
    """Whether the value of an answer is within a relative tolerance of the gold's; both may be expressions."""
    values = [_value(without_unit(normalised(text))) for text in (answer, gold)]
    if values[1] is None:
        return "ambiguous", "gold_is_no_number"
    if values[0] is None:
        words = is_words(normalised(answer))
        return ("incorrect" if words else "ambiguous"), ("words" if words else "answer_is_no_number")
    return ("correct" if within(*values, tolerance) else "incorrect"), "tolerance"


def _value(text: str) -> Fraction | None:
    if (quantity := read_quantity(text)) is not None:
        return quantity.value
    parsed = None if has_prose(text) else read_formula(text.rpartition("=")[2])
    if not isinstance(parsed, Expr) or parsed.free_symbols:
        return None
    value = number_of(parsed, {})
    return Fraction(str(value)) if value is not None and value.is_real else None


def _leaf(answer: str, gold: str) -> Decision:
    return compare_leaves(answer, gold) or _compare_expressions(without_unit(answer), without_unit(gold))


def _compare_expressions(answer: str, gold: str) -> Decision:
    if (simple := compare_leaves(answer, gold)) is not None:
        return simple
    if (doubt := _beyond_the_grammar(answer, gold)) is not None:
        return doubt
    answer, gold = in_radians(answer, gold)
    outcome = compare_parsed(answer, gold)
    if outcome[0] == "correct" and (capitals := distinct_capitals(answer, gold)) != (answer, gold):
        # The parser knows no capitals: R and r would be one radius.
        distinct = compare_parsed(*capitals)
        mixed = any(
            len(variables_of(text)) > len({c.lower() for c in variables_of(text)}) for text in (answer, gold)
        )
        return outcome if distinct[0] == "correct" else ("incorrect" if mixed else "ambiguous", "capitals")
    return outcome


def _beyond_the_grammar(answer: str, gold: str) -> Decision | None:
    """The decision where a text is no formula, or one that the parser misreads."""
    for text, other in ((gold, answer), (answer, gold)):
        if has_prose(text):
            # A sentence or a name was already compared as text; what a grammar for formulas makes of it is noise.
            certain = is_words(text) and not has_prose(other) and not mentions_number(text)
            return ("incorrect" if certain else "ambiguous"), "words"
    for pattern, rule in ((_DOTS, "dots"), (_UNKNOWN, "function"), (_CHANGES, "derivative")):
        if pattern.search(answer) or pattern.search(gold):
            return "ambiguous", rule
    return None


def compare_parsed(answer: str, gold: str) -> Decision:
    parsed_gold, parsed_answer = read_formula(gold), read_formula(answer)
    if parsed_gold is None:
        return "ambiguous", "unparsed_gold"
    if parsed_answer is None:
        return "ambiguous", "unparsed_answer"
    try:
        parsed_answer, parsed_gold = same_symbols(parsed_answer, parsed_gold)
        if (decided := _compare_equations(parsed_answer, parsed_gold)) is not None:
            return decided
        equal = verify(parsed_gold, parsed_answer, timeout_seconds=None, raise_on_error=True)
        return _checked(equal, parsed_answer, parsed_gold, (answer, gold))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - SymPy raises errors of any type on expressions it cannot handle
        return "ambiguous", f"sympy_error:{type(error).__name__}"


def _compare_equations(answer: Basic | MatrixBase, gold: Basic | MatrixBase) -> Decision | None:
    """Polynomial equations are the same if their sides differ by the same polynomial, up to a factor.

    math-verify would solve them, which can take minutes.
    """
    if not (isinstance(answer, Equality) and isinstance(gold, Equality)):
        return None
    first, second = (expand((e.lhs - e.rhs).doit()) for e in (answer, gold))
    symbols = first.free_symbols | second.free_symbols
    if len(symbols) < 2 or not (first.is_polynomial(*symbols) and second.is_polynomial(*symbols)):
        return None
    factor = cancel(first / second) if second != 0 else None
    same = factor is not None and factor != 0 and not factor.free_symbols
    return ("correct" if same else "incorrect"), "equation"


def _checked(
    equal: bool, answer: Basic | MatrixBase, gold: Basic | MatrixBase, texts: tuple[str, str]
) -> Decision:
    """math-verify's opinion after a look at the numbers; `texts`: the answer and the gold as written."""
    close = numerically_equal(answer, gold)
    if close is None:
        if equal or same_solutions(answer, gold):
            return "correct", "sympy"
        # A set and an inequality, say, may mean the same in a way that is not seen here.
        return ("incorrect", "sympy") if type(answer) is type(gold) else ("ambiguous", "kinds")
    if close:
        # Equal wherever variables are positive, but perhaps not elsewhere: as lengths they would be the same.
        symbols = answer.free_symbols | gold.free_symbols
        everywhere = equal or not symbols or numerically_equal(answer, gold, signs=(1, -1, 1, -1, -1))
        return ("correct" if everywhere else "ambiguous"), ("sympy" if equal else "numeric")
    return _unequal(answer, gold, texts)


def _unequal(answer: Expr, gold: Expr, texts: tuple[str, str]) -> Decision:
    """The decision on two expressions with other values."""
    if digits := digits_of_approximation(texts[0], gold) or digits_of_approximation(texts[1], answer):
        return ("correct" if digits >= SUFFICIENT_DIGITS else "ambiguous"), "approximation"
    if equal_at_integers(answer, gold):
        return "correct", "integers"
    unknown = answer.atoms(AppliedUndef) or gold.atoms(AppliedUndef)
    return ("ambiguous", "function") if unknown else ("incorrect", "sympy")
