"""Whatever a model wrote, it stays text: inside of its cell, its title, its fence."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.markdown import block, cell, details, percent, table

markdown_it = pytest.importorskip("markdown_it")

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</summary></details><script>alert(1)</script>",
    "```\nout of the fence\n```",
    "`````",
    "~~~\n~~~",
    "a | b || c |\n|---|---|\n| x | y |",
    "\\| \\` \\\\",
    "line\nline\r\nline\rline\u2028line\x85line",
    "\u202egnp.exe\u2066",
    "NUL \0 bell \x07 escape \x1b[31m",
    "# heading\n- list\n> quote\n\n    code\n---",
    "[link](javascript:alert(1)) ![picture](http://x/y.png) <http://x> &lt; &#60;",
    "$x$ *em* **strong** ~~gone~~ _em_ :smile: user@example.org",
    "",
    " ",
]
texts = st.text(alphabet="ab |`~<>/\\\n\r\t\0*_[]()#&!$:@\"'=-\u202e\u2028\x85", max_size=40)


def rendered(markdown: str) -> str:
    return (
        markdown_it.MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(markdown)
    )


class Page(HTMLParser):
    """The elements and the text of a page, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1] += data


def assert_table_holds(text: str) -> None:
    page = Page(rendered(table(["left", "right"], [("before", text), (text, "after")])))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", *["tr", "td", "td"] * 2]
    assert page.cells[2].strip() == "before"
    assert page.cells[5].strip() == "after"
    assert page.cells[3].strip() == page.cells[4].strip()


def assert_fence_holds(text: str) -> None:
    page = Page(rendered(f"before\n\n{block(text)}\n\nafter"))
    assert page.tags == ["p", "pre", "code", "p"]
    assert page.text.rstrip().endswith("after")


def assert_details_hold(text: str) -> None:
    page = Page(rendered(f"{details(text, Response=text)}\n\nafter"))
    assert page.tags == ["details", "summary", "b", "pre", "p"]
    assert page.text.rstrip().endswith("after")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_its_place(text):
    assert_table_holds(text)
    assert_fence_holds(text)
    assert_details_hold(text)


@given(texts)
def test_any_text_stays_in_its_place(text):
    assert_table_holds(text)
    assert_fence_holds(text)
    assert_details_hold(text)


@given(texts)
def test_nothing_invisible_is_left(text):
    for made in (cell(text), block(text)):
        assert not re.search(r"[\0-\x08\x0b-\x1f\x85\u2028\u202e]", made)


@given(st.text(alphabet="ab1+=|`<>*_\\$ ", max_size=30))
def test_a_cell_shows_the_characters_of_the_text(text):
    page = Page(rendered(table(["x"], [(text,)])))
    assert page.cells[1].split() == text.replace("`", "\u02cb").split()


def test_a_block_shows_the_text_as_it_is():
    text = "48+8=56\n\t56-8=48\n```\n<b>&amp;</b>"
    assert text in Page(rendered(block(text))).text


def test_long_texts_are_shortened_saying_so():
    assert "(8,500 more characters)" in block("x" * 10_000)
    assert len(block("x" * 10_000)) < 2_000


def test_shares_are_shown_as_percentages():
    assert percent(0.5) == "50.0 %"
    assert percent(0.123, 0.0456) == "12.3 ± 4.6 %"
    assert percent(None) == "–"


def test_names_with_underscores_need_no_reference_that_the_ui_shows_raw():
    assert not re.search(r"&#", cell("in_domain *x* `y` <z> & $1"))
    assert "in_domain *x* `y` &lt;z&gt; &amp; $1" in details("in_domain *x* `y` <z> & $1")


def test_the_text_of_a_part_that_opens_is_shown_as_it_is():
    text = "\n\na  *b*\n\n<script>_c_\t`d`"
    assert text in Page(rendered(details("title", Response=text))).text


def test_every_kind_of_line_end_is_shown_as_one():
    assert cell("a\nb\r\nc\rd\u2028e") == "a ⏎ b ⏎ c ⏎ d ⏎ e"
