import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.report.edits import edit_markdown

markdown_it = pytest.importorskip("markdown_it")


def rendered(markdown: str) -> str:
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable("strikethrough").render(markdown)


def test_old_is_struck_and_new_is_bold():
    assert edit_markdown("so 18 apples", "so 20 apples") == "so ~~18~~ **20** apples"


def test_insertion_and_deletion_have_one_mark_each():
    assert edit_markdown("a cat", "a black cat") == "a **black** cat"
    assert edit_markdown("a black cat", "a cat") == "a ~~black~~ cat"


def test_equal_texts_have_no_marks():
    html = rendered(edit_markdown("x * y * z", "x * y * z"))
    assert "<em>" not in html
    assert "<strong>" not in html


def test_lines_stay_lines():
    html = rendered(edit_markdown("48+8=46\n46-8=38", "48+8=56\n56-8=48"))
    assert html.count("<br") == 1
    assert "<s>46</s> <strong>56</strong>" in html


def test_html_and_markdown_in_the_text_stay_text():
    html = rendered(edit_markdown("# x <script>a</script> [l](u)", "# x <script>b</script> [l](u)\x00\u202e"))
    assert "<script" not in html
    assert "<h1" not in html
    assert "<a " not in html
    assert "\x00" not in html
    assert "\u202e" not in html


@pytest.mark.parametrize(("old", "new"), [("x(8)y", "x[9]y"), ("a.b", "a!b"), ("f(1)", "f((1))")])
def test_marks_next_to_punctuation_are_marks(old, new):
    assert "**" not in rendered(edit_markdown(old, new))


@given(
    st.text(alphabet="ab1 .*_<>[]()#`~\n|$\\&", max_size=30), st.text(alphabet="ab2 .*_<>~\n", max_size=30)
)
def test_no_markup_of_the_text_comes_through(old, new):
    assert not re.search(r"<(?!/?(?:p|s|strong|br)\b)", rendered(edit_markdown(old, new)))


@given(st.text(alphabet="ab1 .()=\n", max_size=30), st.text(alphabet="ab2 .()=\n", max_size=30))
def test_every_mark_is_read_as_a_mark(old, new):
    html = rendered(edit_markdown(old, new))
    assert "*" not in html
    assert "~" not in html
