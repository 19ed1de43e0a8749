"""Unicode's mathematical characters as LaTeX; what has no meaning in an answer (zero-width characters) goes."""

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
