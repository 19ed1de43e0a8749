"""Two settings of one text have the same tokens; another number, sign, variable or board never has."""

import pytest

from spot_core.datasets.wording import wording

SAME = [
    ("Compute 48+8-8.", "  COMPUTE  48 + 8 - 8 "),
    ("What is $x^2$?", r"what is \(x ^ 2\)"),
    (r"Find $\frac{1}{2}\,x$.", r"Find $\dfrac{1}{2} \; x$"),
    (r"Let $f\left(x\right) = 3 \quad \text{for all } x$.", r"let \[f(x)=3\text{for all }x\]"),
    ("It costs 1,000 dollars, or so.", "It costs 1000 dollars or so"),
    ("Find {1,2,3}.", "find {1, 2, 3}"),
    ("Tom’s two-digit number – say 12−3", "toms two digit number - say 12-3"),
    ("The word “yes” ends it!", 'the word "yes" ends it'),
    ("Is it\n\tso?", "is it so"),
    ("cafe\u0301 au lait", "Café au lait"),
]

DIFFERENT = [
    ("Compute 48+8-8.", "Compute 47+8-8."),
    ("Compute 48+8-8.", "Compute 48-8-8."),
    ("Compute 1.5 + 2", "Compute 15 + 2"),
    ("Compute 1 5 + 2", "Compute 15 + 2"),
    ("Find 5! + 1", "Find 5 + 1"),
    ("Find n!", "Find n"),
    ("Find f'(x)", "Find f(x)"),
    ("the ratio 3:4", "the ratio 34"),
    ("on (0, 1]", "on (0, 1)"),
    ("X.O\n.X.", "XO.\n.X."),
    (". X", "X"),
    (r"Find $\Delta$", r"Find $\delta$"),
    ("It is prime.", "It is not prime."),
    ("x^2", "x2"),
    ("x²", "x2"),
    (r"$\leq 5$", r"$\geq 5$"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_case_spacing_and_punctuation_change_no_token(first, second):
    assert wording(first).tokens == wording(second).tokens


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_what_carries_meaning_changes_a_token(first, second):
    assert wording(first).tokens != wording(second).tokens


def test_every_text_has_tokens():
    for text in ("?", ",", "$", "", "\\", "   "):
        assert wording(text).tokens


def test_numbers_variables_and_negations_are_marks_and_other_words_are_not():
    marks = wording(r"Tom has three apples and a cost of $x$: how many, if not \alpha, are 12?").marks
    assert marks == ("three", "x", "not", "\\alpha", "12")


def test_a_formula_is_one_word_however_it_is_spaced():
    words = wording("Let f(x) = 3x + 1 for every real x.").words
    assert words == ("let", "f ( x ) = 3 x + 1", "for", "every", "real", "x")
    assert words == wording("let $f(x)=3x+1$ for every real $x$").words


def test_text_without_spaces_has_a_word_for_each_character():
    assert wording("求最大值").words == ("求", "最", "大", "值")
