"""Formulas become MathML that shows all of them and does nothing; what cannot be shown so stays as it is written."""

import random
import re
import time

import pytest
from latex2mathml import commands

from spot_core.report.viewer import formulas
from spot_core.report.viewer.formulas import FormulaTable, convert_formula, find_formulas
from tests.spot_core.report.viewer.hostile import TEXTS

TOKENS = {"mi", "mn", "mo", "mtext"}
LAYOUT = set(
    "math mrow mstyle mpadded mspace msqrt mtable mtr mtd mfrac mroot msub msup msubsup munder mover munderover".split()
)
ATTRIBUTES = set(
    "accent class columnalign displaystyle fence form largeop linethickness lspace mathvariant maxsize minsize"
    " movablelimits rspace scriptlevel separator stretchy width".split()
)


def check(tree):
    """That a tree is MathML which loads, runs, hides and moves nothing, whose texts are in token elements."""
    name, attributes, *children = tree
    assert name in TOKENS | LAYOUT
    assert attributes.keys() <= ATTRIBUTES
    assert attributes.get("class", "box") == "box"
    assert all(re.fullmatch(r"[a-z][a-z-]*|[0-9]?(\.[0-9]+)?(em)?", value) for value in attributes.values())
    if name in TOKENS:
        assert all(isinstance(child, str) for child in children)
    else:
        for child in children:
            check(child)


def text_of(tree):
    return "".join(child if isinstance(child, str) else text_of(child) for child in tree[2:])


@pytest.mark.parametrize(
    ("text", "found"),
    {
        "So \\( x \\) and \\[ y \\], $z$ and $$w$$.": ["\\( x \\)", "\\[ y \\]", "$z$", "$$w$$"],
        "the answer is \\boxed{\\frac{1}{2}}.": ["\\boxed{\\frac{1}{2}}"],
        "$\\sqrt[3]{27}$ or \\sqrt[3]{27}": ["$\\sqrt[3]{27}$", "\\sqrt[3]{27}"],
        "$x = \\$5$ of $f''(x)$ and $12$": ["$x = \\$5$", "$f''(x)$", "$12$"],
        "\\begin{align*}\nx &= 1 \\\\\n&= 2\n\\end{align*}": [
            "\\begin{align*}\nx &= 1 \\\\\n&= 2\n\\end{align*}"
        ],
        "costs $5 and then $6, or $5-$6": [],
        "= $<<5*1/2=2.5>>2.5. So $5": [],
        "$a\n\nb_1$": [],
        "50\\% of \\$5 and \\$6": [],
        "snake_case and 2^10 {braces} \\": [],
    }.items(),
)
def test_formulas_are_told_from_prices(text, found):
    assert find_formulas(text) == found


@pytest.mark.parametrize(
    ("formula", "content"),
    {
        "\\frac12": [["mfrac", {}, ["mn", {}, "1"], ["mn", {}, "2"]]],
        "$x^2$": [["msup", {}, ["mi", {}, "x"], ["mn", {}, "2"]]],
        "\\( \\sqrt[3]{x} \\)": [["mroot", {}, ["mi", {}, "x"], ["mn", {}, "3"]]],
        "$\\boxed{\\pi}$": [["mrow", {"class": "box"}, ["mi", {}, "π"]]],
        "\\[ x < y \\]": [["mrow", {}, ["mi", {}, "x"], ["mo", {}, "<"], ["mi", {}, "y"]]],
        "$\\mathbb{R}$": [["mi", {}, "ℝ"]],
        "$\\begin{matrix} 1 & 2 \\end{matrix}$": [
            ["mtable", {}, ["mtr", {}, ["mtd", {}, ["mn", {}, "1"]], ["mtd", {}, ["mn", {}, "2"]]]]
        ],
    }.items(),
)
def test_formulas_become_mathml(formula, content):
    assert convert_formula(formula) == ["math", {}, *content]


@pytest.mark.parametrize(
    "formula",
    [
        "\\unknown{x}",
        "$\\frac{1}$",
        "$x^$",
        "\\left(",
        "$\\begin{matrix} 1$",
        "$a \\\\ b$",  # the line break would be lost
        "$\\cancel{3}$",  # browsers do not strike it
        "$\\phantom{3}$",
        "$5 \\% % of it is hidden$",
        "$5 \\\\% hidden$",
        "$\\colorbox{red}{\\frac12}$",  # latex2mathml loses the operands
        "$\\genfrac{}{}{0}{}{a}{b} + 5$",  # and here what comes after
        "$\\hspace{9cm} x$",
        "$\\raise{-5em}{x}$",
        "$\\href{javascript:alert(1)}{x}$",
        "$\\style{position:fixed}{x}$",
        "$\\unicode{x202e}$",
        "$\\text{&#x41;}$",
        "$\\def\\a{b} \\a$",
        "$" + "\\frac{" * 60 + "1" + "}{2}" * 60 + "$",
        "$" + "x + " * 600 + "x$",
        "$" + "{" * 950 + "x" + "}" * 950 + "$",
    ],
)
def test_what_cannot_be_shown_faithfully_stays_as_it_is_written(formula):
    assert convert_formula(formula) is None


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_texts_are_texts_or_nothing(text):
    for template in ("\\text{%s}", "$\\mathrm{%s}$", "\\[ %s \\]", "$x_{%s}$", "$\\hbox{a $%s$}$"):
        if tree := convert_formula(template % text):
            check(tree)
    assert text_of(convert_formula("\\text{<script>alert(1)</script>}")) == "<script>alert(1)</script>"


def test_no_formula_breaks_the_page_or_takes_long():
    rng = random.Random(0)
    names = [value for value in vars(commands).values() if isinstance(value, str) and value.startswith("\\")]
    names += [*commands.CONVERSION_MAP, *commands.GLOBAL_FONTS]
    others = "{ } [ ] ^ _ & \\\\ $ 1 23 x ' | ( ) \\left( \\right) < > % # 1cm ~ }} {{ \\begin{matrix} \\end{matrix}".split()
    others += ["\\hbox{a $x$", "\\text{", " ", "\n"]
    shown = 0
    for _ in range(4000):
        parts = rng.choices(names, k=rng.randint(1, 4)) + rng.choices(others, k=rng.randint(1, 7))
        formula = "$" + "".join(rng.choices(parts, k=rng.choice([3, 8, 20, 200])))[:1900] + "$"
        start = time.process_time()
        tree = convert_formula(formula)
        assert time.process_time() - start < 5, formula
        if tree:
            shown += 1
            check(tree)
    assert shown > 200


@pytest.mark.parametrize(
    "text",
    [
        "\\frac{" * 16_000, "$a" * 50_000, "\\(" * 50_000, "\\a" + "{" * 100_000, "\\begin{a}" * 11_000,
        "\\begin{a}" + "x" * 100_000, "$" * 100_000, "$x y" * 25_000, "\\a{" + "{x}" * 33_000,
        "\\sqrt[" * 16_000, "\\" * 100_000, "\\a" + "{{{{x}" * 16_000, "$a =" * 25_000,
    ],
)  # fmt: skip
def test_finding_formulas_takes_linear_time(text):
    start = time.process_time()
    find_formulas(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "formula",
    [
        "\\def\\a{xx}" + "".join(f"\\def\\{b}{{\\{a}\\{a}}}" for a, b in zip("abcdefghijkl" * 3, "bcdefghijklm" * 3, strict=True)),
        "\\sideset{_1^2}{_3^4}{" * 60 + "x" + "}" * 60,
        "\\operatorname{" + "a *" * 600,
        "\\verb" * 390,
        "x" + "'" * 1900,
    ],
)  # fmt: skip
def test_no_formula_takes_exponential_time(formula):
    start = time.process_time()
    convert_formula(formula)
    assert time.process_time() - start < 5


def test_each_formula_is_in_the_table_once_until_there_are_too_many(monkeypatch):
    monkeypatch.setattr(formulas, "MOST_ON_A_PAGE", 17)
    table = FormulaTable()
    table.add("$x^2$ and $x^2$")
    table.add("\\nonsense")
    assert (len(table.lines), table.is_complete) == (1, True)
    table.add("$x^2$ and $y^2$")
    assert (len(table.lines), table.is_complete) == (1, False)
    assert table.size == len(table.lines[0])
