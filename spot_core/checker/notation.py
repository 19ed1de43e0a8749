"""Brings an answer into one spelling: cosmetics of LaTeX, Unicode, Markdown and Python go, the mathematics stays."""

import functools
import re
import unicodedata

_GREEK = {
    chr(code): f"\\{name} "
    for name, code in (
        ("alpha", 0x3B1),
        ("beta", 0x3B2),
        ("gamma", 0x3B3),
        ("delta", 0x3B4),
        ("theta", 0x3B8),
        ("lambda", 0x3BB),
        ("mu", 0x3BC),
        ("pi", 0x3C0),
        ("rho", 0x3C1),
        ("sigma", 0x3C3),
        ("tau", 0x3C4),
        ("phi", 0x3C6),
        ("omega", 0x3C9),
        ("Delta", 0x394),
        ("Omega", 0x3A9),
    )
}
_SYMBOLS = str.maketrans(
    {
        **_GREEK,
        **dict.fromkeys("−–—‐‑﹣－", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\u205f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        **dict.fromkeys("×·⋅∙∗✕", r"\times "),
        **dict.fromkeys("∕⁄÷", "/"),
        **dict.fromkeys("‘’ʹ′", "'"),
        **dict.fromkeys("“”", '"'),
        "≤": r"\leq ",
        "⩽": r"\leq ",
        "≥": r"\geq ",
        "⩾": r"\geq ",
        "≠": r"\neq ",
        "≈": r"\approx ",
        "±": r"\pm ",
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "Ø": r"\emptyset ",
        "∖": r"\setminus ",
        "ℝ": r"\mathbb{R}",
        "ℤ": r"\mathbb{Z}",
        "√": r"\sqrt ",
        "º": "°",
        "˚": "°",
        "∠": r"\angle ",
        "…": "...",
        "：": ":",
        "，": ",",
        "；": ";",
    }
)
_SCRIPT_DIGITS = "0123456789+-n"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", _SCRIPT_DIGITS)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", _SCRIPT_DIGITS)
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUBSCRIPT = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+")
_VULGAR_FRACTION = re.compile("[¼-¾⅐-⅞]")


def as_ascii_math(text: str) -> str:
    """The text with mathematical characters in LaTeX; letters of other scripts stay."""
    if text.isascii():
        return text
    text = _SUPERSCRIPT.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _SUBSCRIPT.sub(lambda found: f"_{{{found[0].translate(_SUBSCRIPTS)}}}", text)
    text = _VULGAR_FRACTION.sub(_as_fraction, text)
    return unicodedata.normalize("NFKC", text.translate(_SYMBOLS))


def _as_fraction(found: re.Match[str]) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", found[0]).partition("\u2044")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


_DELIMITED = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|\$(?P<b>[^$]+)\$|\\\((?P<c>.+)\\\)|\\\[(?P<d>.+)\\\]", re.DOTALL
)
_INLINE = re.compile(r"(?<!\\)\$([^$]*[^$\\])\$|\\\((.*?)\\\)", re.DOTALL)
_DELIMITER = re.compile(r"(?<!\\)\$+|\\[()\[\]]")

_Rules = list[tuple[re.Pattern[str], str]]


def _rules(*rules: tuple[str, str]) -> _Rules:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


_END = r"(?![A-Za-z])"
_STYLES = (
    "displaystyle|textstyle|scriptstyle|limits|nolimits|bf|rm|it|sf|tt|em|boldmath|nonumber|centering|notag"
)
_SIZES = "tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge"
_SPACES = "q?quad|thinspace|medspace|thickspace|enspace|space|hfill|newline|linebreak"
_LATEX = _rules(
    (r"(?<!\\)\\\$", "$"),
    (rf"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?){_END}", ""),
    (rf"\\(?:{_STYLES}|{_SIZES}){_END}", " "),
    (r"\\(?:textcolor|color|[hv]space\*?|[hv]?phantom|label|tag|mspace|vphantom)\s*\{[^{}]*\}", " "),
    (r"\\begin\s*\{(?:aligned|align\*?|gathered|split|equation\*?)\}|\\end\s*\{(?:aligned|align\*?|gathered|split|equation\*?)\}", " "),
    (r"(?<!\\)\\!", ""),
    (rf"(?<!\\)\\[,;:>]|(?<!\\)\\(?=\s)|~|\\(?:{_SPACES}){_END}", " "),
    (r"\{,\}", ","),
    (r"\{:\}|\\colon(?![A-Za-z])", ":"),
    (rf"\\[dtc]frac{_END}", r"\\frac"),
    (rf"\\[dt]binom{_END}", r"\\binom"),
    (r"\\frac\s*(\{[^{}]*\}|[A-Za-z\d])\s*(\{[^{}]*\}|[A-Za-z\d])", r"\\frac\1\2"),
    (r"\\frac([A-Za-z\d])(\{[^{}]*\}|[A-Za-z\d])", r"\\frac{\1}\2"),
    (r"\\frac(\{[^{}]*\})([A-Za-z\d])", r"\\frac\1{\2}"),
    (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"(?<!\d)_([A-Za-z]|\d+)", r"_{\1}"),
    (r"(?<=\d)_(\d{1,2})(?!\d)", r"_{\1}"),
    (r"\^\s*\{?\s*\\prime\s*\}?", "'"),
    (r"\\(?:overline|bar|overrightarrow|overleftrightarrow)\s*(?:\{\s*([A-Z]{2,3})\s*\}|(?<=\s)([A-Z]{2,3}))", r" \1\2 "),
    (r"\\(triangle|angle|odot|square)\s*\{\s*([A-Z]{1,4})\s*\}", r"\\\1 \2"),
    (r"\\lg(?![A-Za-z])", r"\\log_{10} "),
    (r"\\var(phi|epsilon|theta|rho)(?![A-Za-z])", r"\\\1 "),
    (r"\\(vec|hat|tilde|bar|overrightarrow)\s*(?:\{\s*([A-Za-z])\s*\}|(?<=\s)([A-Za-z])(?![A-Za-z]))", r"\\\1{\2\3}"),
    (r"\^\s*\{?\s*(?:\\text\s*\{)?\s*(?:th|st|nd|rd)\s*\}{1,2}", ""),
    (r"\\log_\{?e\}?(?![A-Za-z])", r"\\ln "),
    (r"\\sqrt\s*([A-Za-z\d])", r"\\sqrt{\1}"),
    (r"(?<!\\)\\([%#&_])", r"\1"),
    (rf"\\leq?(?:slant|q)?{_END}|\\leqq{_END}", r"\\leq "),
    (rf"\\geq?(?:slant|q)?{_END}|\\geqq{_END}", r"\\geq "),
    (rf"\\neq?{_END}|\\not\s*=", r"\\neq "),
    (rf"\\lt{_END}", "<"),
    (rf"\\gt{_END}", ">"),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\(?:text)?degree(?![A-Za-z])", "°"),
    (rf"\\(?:cdot|times|ast){_END}", r"\\times "),
    (rf"\\pi{_END}", r"\\pi "),
    (rf"\\(?:l|c|dots[cbmio]?|d)?dots{_END}", "..."),
    (rf"\\(?:lbrace){_END}", r"\\{"),
    (rf"\\(?:rbrace){_END}", r"\\}"),
    (rf"\\(?:lbrack){_END}", "["),
    (rf"\\(?:rbrack){_END}", "]"),
    (rf"\\(?:langle|lparen){_END}", "("),
    (rf"\\(?:rangle|rparen){_END}", ")"),
    (rf"\\bigcup{_END}", r"\\cup "),
    (rf"\\varnothing{_END}|\\\{{\s*\\\}}", r"\\emptyset "),
    (r"\\(?:mathbb|mathbf|Bbb|mathds)\s*(?:\{\s*R\s*\}|R)(?![A-Za-z])|\\(?:R|reals|Reals)(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\\(?:underline|boxed|fbox|mathbf|boldsymbol|bm|mathit|ensuremath|emph)(?=\s*\{)", ""),
)  # fmt: skip
_TEXT_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|up|normal)?|mbox|hbox|mathrm|mathsf|mathtt|operatorname\*?)\s*\{([^{}]*)\}"
)
_PLAIN = _rules(
    (r"\*\*", "^"),
    (r"<=|=<", r"\\leq "),
    (r">=", r"\\geq "),
    (r"!=|<>", r"\\neq "),
    (r"(?<![*\\])\*(?!\*)", r"\\times "),
    (r"(?<![A-Za-z\\])(?:infinity|Infinity|oo|inf)(?![A-Za-z])", r"\\infty "),
)
_NAMES = _rules(
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (
        r"(?<![A-Za-z\\])(a(?:rc)?(?=sin|cos|tan))?(sin|cos|tan|cot|csc|sinh|cosh|tanh|log|ln|exp)(?=\s*[({^_\\\d]|\s+[a-z](?![A-Za-z]))",
        r"\\\1\2 ",
    ),
    (r"(?<![A-Za-z\\])C\(\s*(\w+)\s*,\s*(\w+)\s*\)", r"\\binom{\1}{\2}"),
    (r"(?<![A-Za-z\\])(sqrt)(?=\s*[({\d])", r"\\sqrt"),
    (r"(?<![A-Za-z\\])(sec|gcd|lcm|max|min)(?=\()", r"\\\1 "),
)
_EXPONENT = re.compile(r"\^\s*([-+]?\d+(?:\.\d+)?)")
_CALL = re.compile(r"(\\sqrt|\^)\s*\(")
_MARKDOWN = re.compile(r"(\*\*|__|`)(.+)\1")
_OPTION_LETTER = re.compile(r"\(([A-Za-z])\)")
_WORDS = re.compile(r"(?=.*[A-Za-z]{2})[A-Za-z'.]+(?: +[A-Za-z'.]+|-[A-Za-z]{2,})*")
_PROSE = re.compile(r"(?<![A-Za-z\\])(?:[A-Z]?[a-z]{2,}|[A-Z]{5,})(?![A-Za-z])")
_ROWS = re.compile(r"\\(?:begin|end)\s*\{(?:cases|array|aligned|align\*?|gathered)\}(?:\{[lcr| ]*\})?")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z*]+\}")
_REMEMBERED = 4096


def strip_delimiters(answer: str) -> str:
    """Without the `$`, `$$`, `\\(` or `\\[` that enclose the whole answer."""
    answer = answer.strip()
    while match := _DELIMITED.fullmatch(answer):
        inner = next(group for group in match.groups() if group is not None).strip()
        if match["a"] is None and match["b"] is None and _DELIMITER.search(inner):
            break  # \\( a \\) and \\( b \\)
        answer = inner
    return answer


@functools.lru_cache(_REMEMBERED)
def normalised(answer: str) -> str:
    """The answer in one spelling, for comparing and for reading numbers; words keep their spaces."""
    answer = as_ascii_math(strip_delimiters(answer))
    if match := _MARKDOWN.fullmatch(answer):
        answer = strip_delimiters(match[2])
    answer = _INLINE.sub(lambda found: f" {found[1] or found[2]} ", answer)
    if "\\" in answer or "{" in answer or "~" in answer:
        answer = _plain_latex(answer)
    if not answer.isdecimal():
        answer = _latex_of_plain(answer)
    answer = " ".join(answer.split())
    if not answer.endswith("..."):
        answer = answer.rstrip(".,; ")
    if match := _OPTION_LETTER.fullmatch(answer):
        return match[1]
    return answer[1:].lstrip() if answer.startswith("+") else answer


def _plain_latex(answer: str) -> str:
    if r"\begin" in answer and "&" not in answer and "matrix" not in answer:
        answer = _ROWS.sub(" ", answer).replace(r"\\", ", ")
    aligned = r"\begin" in answer and "align" in answer
    for pattern, replacement in _LATEX:
        answer = pattern.sub(replacement, answer)
    if aligned and r"\begin" not in answer:
        answer = answer.replace("&", "").replace(r"\\", ", ")
    while (unwrapped := _TEXT_COMMAND.sub(r" \1 ", answer)) != answer:
        answer = unwrapped
    return answer


def _latex_of_plain(answer: str) -> str:
    for pattern, replacement in _PLAIN:
        answer = pattern.sub(replacement, answer)
    if any(character.isalpha() for character in answer):
        for pattern, replacement in _NAMES:
            answer = pattern.sub(replacement, answer)
    if "^" in answer or r"\sqrt" in answer:
        answer = _EXPONENT.sub(r"^{\1}", answer)
        answer = _braced_calls(answer)
    return answer


def _braced_calls(answer: str) -> str:
    """`sqrt(x+1)` and `2^(1/2)` with the braces that LaTeX wants."""
    position = 0
    while match := _CALL.search(answer, position):
        closing = _closing_parenthesis(answer, match.end() - 1)
        if closing is None:
            break
        inner = answer[match.end() : closing]
        answer = f"{answer[: match.start()]}{match[1]}{{{inner}}}{answer[closing + 1 :]}"
        position = match.start() + len(match[1])
    return answer


def _closing_parenthesis(text: str, opening: int) -> int | None:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return None


_BETWEEN_NUMBERS = re.compile(r"(?<=\d) (?=\d)")


def same_spelling(first: str, second: str) -> bool:
    """Whether two normalised answers differ in white space only, or in capitals where they are words."""
    first, second = (_BETWEEN_NUMBERS.sub(";", text).replace(" ", "") for text in (first, second))
    if first == second:
        return True
    worded = (is_words(first) and is_words(second)) or (has_prose(first) and has_prose(second))
    return worded and first.casefold() == second.casefold()


def is_words(answer: str) -> bool:
    """Whether the normalised answer is plain words: at least two letters, no digit, no LaTeX, no operator."""
    return _WORDS.fullmatch(answer) is not None


def has_prose(answer: str) -> bool:
    """Whether words of at least three letters stand in the normalised answer, outside LaTeX commands.

    `LCs` and `ABC` are products and names of points, no words.
    """
    return any(len(word) > 2 for word in _PROSE.findall(_ENVIRONMENT.sub("", answer)))
