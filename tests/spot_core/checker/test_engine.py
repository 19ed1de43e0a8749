from pathlib import Path

import pytest

from spot_core.checker.comparison import compare_fast
from spot_core.checker.engine import compare_with_sympy


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{x}{2}", "x/2"),
        ("$5 \\leq x$", r"x \geq 5"),
        (r"\frac{x+1}{2}", r"\frac12 x + \frac12"),
        ("(11,7), (7,11)", "$(7,11)$ and $(11,7)$"),
        (r"\sqrt{8}", r"2\sqrt2"),
        (r"\sec^2(y)", r"\tan^2(y)+1"),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\left[\begin{array}{cc}1 & 2\end{array}\right]"),
        (r"x \cdot 1.5e-3", r"0.0015x"),
    ],
)
def test_equal_mathematics_is_correct(answer: str, gold: str) -> None:
    assert compare_with_sympy(answer, gold)[0] == "correct"


@pytest.mark.parametrize(
    ("answer", "gold"), [("2x", "3x"), ("(1,2)", "(2,1)"), ("x > -1", "x < 1"), (r"4\sqrt2", "4")]
)
def test_different_mathematics_is_incorrect(answer: str, gold: str) -> None:
    assert compare_with_sympy(answer, gold)[0] == "incorrect"


@pytest.mark.parametrize("answer", [r"\frac{1}{", r"\begin{pmatrix}", "((((", "\x00\x01"])
def test_unreadable_latex_is_ambiguous_not_incorrect(answer: str) -> None:
    assert compare_with_sympy(answer, "2x")[0] == "ambiguous"


@pytest.mark.parametrize("answer", ["7", "1,080", "28%", r"\frac{3}{8}", "0.4", r"90^\circ"])
@pytest.mark.parametrize("gold", ["7", "1080", r"28\%", "3/8", ".4", r"$90^\circ$"])
def test_engine_agrees_with_the_fast_rules_on_numbers(answer: str, gold: str) -> None:
    fast = compare_fast(answer, gold)
    assert fast is not None
    assert compare_with_sympy(answer, gold)[0] == fast[0]


@pytest.mark.parametrize(
    "template",
    [
        '__import__("os").system("touch {}")',
        r'\text{{__import__("pathlib").Path("{}").touch()}}',
        'open("{}", "w")',
        r'\operatorname{{open}}("{}", "w")',
    ],
)
def test_model_text_is_never_evaluated(template: str, tmp_path: Path) -> None:
    compare_with_sympy(template.format(tmp_path / "owned"), "2x")
    compare_with_sympy("2x", template.format(tmp_path / "owned"))
    assert list(tmp_path.iterdir()) == []
