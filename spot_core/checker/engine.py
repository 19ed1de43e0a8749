"""Compares two expressions with math-verify on SymPy. Slow and killable: runs in the pool's workers only.

Only LaTeX parsing is used (a grammar). math-verify's parser for plain expressions evaluates text as Python, and its own time
limit needs SIGALRM: both stay off. What it finds is checked by numbers: math-verify rounds, so that two numbers below 1e-15
are equal to it."""

import logging
import re
from fractions import Fraction

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import (
    Basic,
    Equality,
    Expr,
    Float,
    I,
    Integer,
    MatrixBase,
    Number,
    Rational,
    Symbol,
    cancel,
    expand,
)
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from spot_core.checker.comparison import compare
from spot_core.checker.leaves import compare_leaves
from spot_core.checker.notation import has_prose, is_words, normalised
from spot_core.checker.quantity import decimal_of, mentions_number, read_quantity, significant_digits
from spot_core.checker.scorers import within
from spot_core.checker.units import measure_of
from spot_core.checker.verdict import Decision

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


DIGITS = 50
"""Decimal digits of numeric comparisons; answers are a few powers and roots, so that many are right."""
TOLERANCE = 10.0**-35
FLOAT_TOLERANCE = 1e-9
"""For expressions with a decimal in them, such as 2^{0.5}."""
_SAMPLES = ("0.7390851332", "1.3247179572", "0.3678794412", "2.6651441427", "1.7632228344")
"""Sizes of values for variables, none of them special."""


def same_symbols(*expressions: Basic | MatrixBase) -> list[Basic | MatrixBase]:
    """With equal symbols for equal names, i as the imaginary unit, and odd roots of negative numbers as real ones.

    Where an expression looks complex to the parser, it makes other symbols.
    """
    replaced = []
    for expression in expressions:
        symbols = {s: I if s.name == "i" else Symbol(s.name, real=True) for s in expression.atoms(Symbol)}
        changed = expression.xreplace(symbols) if symbols else expression
        replaced.append(changed.replace(_is_odd_root, _real_root) if isinstance(changed, Expr) else changed)
    return replaced


def _is_odd_root(expression: Basic) -> bool:
    return (
        bool(
            expression.is_Pow
            and expression.base.is_negative
            and expression.exp.is_Rational
            and expression.exp.q % 2
        )
        and expression.exp.q > 1
    )


def _real_root(power: Expr) -> Expr:
    return (-1) ** power.exp.p * (-power.base) ** power.exp


def numerically_equal(
    first: Basic | MatrixBase, second: Basic | MatrixBase, signs: tuple[int, ...] = (1,) * 5
) -> bool | None:
    """Whether two expressions have the same values; None where they have none that can be compared."""
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return None
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(symbols) > len(_SAMPLES):
        return None
    if not symbols and (first := first.doit()).is_Rational and (second := second.doit()).is_Rational:
        return first == second
    tolerance = FLOAT_TOLERANCE if first.atoms(Float) or second.atoms(Float) else TOLERANCE
    for shift in range(len(_SAMPLES) if symbols else 1):
        places = [(position + shift) % len(_SAMPLES) for position in range(len(symbols))]
        values = {
            symbol: signs[place] * Number(_SAMPLES[place])
            for symbol, place in zip(symbols, places, strict=True)
        }
        here, there = number_of(first, values), number_of(second, values)
        if here is None or there is None:
            return None
        if abs(here - there) > tolerance * max(abs(here), abs(there)):
            return False
    return True


def number_of(expression: Expr, values: dict[Basic, Number]) -> Expr | None:
    value = expression.doit().evalf(DIGITS, subs=values)
    return value if value.is_number and value.is_finite and abs(value).is_comparable else None


def equal_at_integers(first: Expr, second: Expr) -> bool:
    """Whether both agree where their variables are integers, as the letters n, k and m say: (-1)^n and cos(nπ)."""
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(symbols) != 1 or symbols[0].name not in ("n", "k", "m"):
        return False
    for integer in range(1, 8):
        here, there = (number_of(e, {symbols[0]: Integer(integer)}) for e in (first, second))
        if here is None or there is None or abs(here - there) > TOLERANCE * max(abs(here), abs(there)):
            return False
    return True


def digits_of_approximation(decimal: str, exact: Basic | MatrixBase) -> int:
    """Significant digits of a decimal that is the rounded (or cut) value of an expression; 0 where it is not."""
    quantity = decimal_of(decimal)
    if quantity is None or not isinstance(exact, Expr) or exact.free_symbols or exact.is_real is False:
        return 0
    value = number_of(exact, {})
    close = value is not None and abs(value - Rational(quantity.value)) < Rational(1, 10**quantity.decimals)
    return significant_digits(quantity) if close else 0


def same_solutions(first: Basic | MatrixBase, second: Basic | MatrixBase) -> bool:
    """Whether two inequalities in one variable describe the same set."""
    if not all(isinstance(e, Relational) and not isinstance(e, Equality) for e in (first, second)):
        return False
    if len(first.free_symbols | second.free_symbols) != 1:
        return False
    try:
        return first.as_set() == second.as_set()
    except NotImplementedError:
        return False


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
