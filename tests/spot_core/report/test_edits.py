"""Segments give back both texts, however long or odd, and mark what was changed; and so does their Markdown."""

import re
import resource
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from spot_core.report.edits import Segment, render_edit, split_edit

# fmt: off
FRAGMENTS = [  # everything that Markdown or HTML gives a meaning to, with words, numbers and line breaks around it
    *"ab1 .,*_<>[](){}#`~\n\t|$\\&!-+=:@^\"'/é→",
    "http://", "www.", "a@b.co", "&#43;", "&lt;", "```", "~~~", "    ", "1. ", "12) ", "- ", "---", "===", "<b>",
    "<!--", "[x](y)", "![a](b)", "**", "~~", "#### ", "\\boxed{", "|a|b|\n|--|--|\n", "a|b\n:--|--",
]
MARKUP = [
    "# x", "1. x", "2) x", "- x", "+ x", "* x", "> x", "    x", "\tx", "\t  \nx", "x\n===", "x\n---", "---",
    "```\nx\n```", "~~~\nx\n~~~", "a|b\n-|-", "[l](u)", "![l](u)", "[l]: u", "<u@v.w>", "<http://u>", "<b>x</b>",
    "<!-- x", "*x*", "**x**", "_x_", "~~x~~", "`x`", "&amp;", "\\#",
]
# fmt: on
hostile_text = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
LOOKALIKE = str.maketrans("`", "\u02cb")


def rendered(markdown: str) -> str:
    """HTML from a renderer that lets through whatever Markdown allows."""
    return MarkdownIt("commonmark", {"html": True}).enable(["strikethrough", "table"]).render(markdown)


class Reader(HTMLParser):
    """What a reader sees of each version: all but the bold is y⁻, all but the struck is y⁺; and the tags met."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rejected = self.rectified = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        data = re.sub(r"[\s\u200b]", "", data)
        self.rejected += "" if "strong" in self.open else data
        self.rectified += "" if "s" in self.open else data


def inked(text: str) -> str:
    """The characters of a text that are to be seen."""
    return re.sub(r"\s", "", text).translate(LOOKALIKE)


def test_old_is_struck_and_new_is_bold():
    assert render_edit("so 18 apples", "so 20 apples") == "so ~~18~~ **20** apples"


def test_insertion_and_deletion_have_one_mark_each():
    assert render_edit("a cat", "a black cat") == "a **black** cat"
    assert render_edit("a black cat", "a cat") == "a ~~black~~ cat"


def test_arithmetic_stays_readable_as_markdown():
    assert render_edit("48+8=46 ($1.50/h)", "48+8=56 ($1.50/h)") == "48+8=~~46~~ **56** ($1.50/h)"
    assert render_edit("\\boxed{46}", "\\boxed{56}") == "\\\\boxed{~~46~~ **56**}"


def test_no_entity_is_used_that_prefects_ui_would_show_raw():
    markdown = render_edit("67+2=68 {<'\"`&}>\n  #1", "67+2=69 {<'\"`&}>\n  #1")
    assert set(re.findall(r"&#?\w+;", markdown)) <= {"&lt;"}


def test_equal_texts_have_no_marks():
    assert Reader(rendered(render_edit("x * y * z", "x * y * z"))).tags == {"p"}


def test_lines_stay_lines():
    html = rendered(render_edit("48+8=46\n46-8=38", "48+8=56\n56-8=48"))
    assert html.count("<br") == 1
    assert "<s>46</s> <strong>56</strong>" in html


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\r", "\u200f", "\u202e", "\u2066", "\u2028"])
def test_control_characters_are_made_visible(control):
    html = rendered(render_edit("a", f"a{control}b"))
    assert control not in html
    assert ("␀" if control == "\x00" else f"\\u{ord(control):04x}") in html


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_the_text_stays_text(text):
    read = Reader(rendered(render_edit(text, text)))
    assert read.tags <= {"p", "br"}
    assert read.rejected == read.rectified == inked(text)


@pytest.mark.parametrize("text", ["see http://u.v/w", "FTP://u.v", "www.u.v", "a@b.co"])
def test_bare_addresses_are_no_links(text):
    """Renderers that link them (GitHub's rules) look for these forms, which an escape interrupts."""
    markdown = render_edit(text, text)
    assert not re.search(r"(?i)[a-z]://|www\.|\w@", markdown)
    assert Reader(rendered(markdown)).rejected == inked(text)


@pytest.mark.parametrize(
    ("old", "new"), [("x(8)y", "x[9]y"), ("a.b", "a!b"), ("f(1)", "f((1))"), ("x\\(8", "x8")]
)
def test_marks_next_to_punctuation_are_marks(old, new):
    read = Reader(rendered(render_edit(old, new)))
    assert (read.rejected, read.rectified) == (old, new)


@given(hostile_text, hostile_text)
def test_each_version_is_read_as_it_was_written_and_nothing_else_arises(old, new):
    read = Reader(rendered(render_edit(old, new)))
    assert read.tags <= {"p", "br", "s", "strong"}
    assert (read.rejected, read.rectified) == (inked(old), inked(new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("`48+8=46`", "`48+8=56`"), ("1 < 2 + 3 > 4", "1 < 2 + 5 > 4"), ("[a 1 b](c)", "[a 2 b](c)")],
)
def test_no_pair_that_hides_marks_from_prefects_ui_is_left(old, new):
    """marked 4 sees no mark inside `…`, <…> and […](…), escaped or not."""
    markdown = render_edit(old, new)
    assert not re.search(r"\[[^\[\]]*?\]\([^)]*?\)|`[^`]*?`|<[^>]*?>", markdown)
    assert "**" in markdown


# --- segments ---------------------------------------------------------------------------------------------------

plain_text = st.text(alphabet="ab 1.\n\t=\ud800\u202e", max_size=30)


@given(old=plain_text, new=plain_text)
def test_both_texts_come_back(old, new):
    made = split_edit(old, new)
    assert "".join(same + before for same, before, _ in made) == old
    assert "".join(same + after for same, _, after in made) == new
    assert all(before or after for _, before, after in made[:-1])


@given(text=plain_text)
def test_equal_texts_have_no_change(text):
    assert split_edit(text, text) == ([Segment(text, "", "")] if text else [])


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("48+8=46", "48+8=56", [("46", "56")]),
        ("costs 3.0 dollars", "costs 3.5 dollars", [("3.0", "3.5")]),
        ("so we add them", "so one multiplies these", [("we add them", "one multiplies these")]),
        ("a b", "a x y b", [("", "x y ")]),
        ("one\ntwo", "uno\ndos", [("one", "uno"), ("two", "dos")]),
        ("", "all new", [("", "all new")]),
    ],
)
def test_a_change_is_as_a_person_would_mark_it(old, new, changes):
    made = [(before, after) for _, before, after in split_edit(old, new) if before or after]
    assert made == changes


def test_long_texts_are_aligned_by_lines_and_words():
    lines = [f"step {n}: {n} + 1 = {n + 1}\n" for n in range(10_000)]
    old, new = (
        "".join(lines),
        "".join(["so:\n", *lines[:9000], lines[9000].replace("9001", "9002"), *lines[9001:]]) + "done",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    changes = [(s.old, s.new) for s in split_edit(old, new) if s.old or s.new]
    assert changes == [("", "so:\n"), ("9001", "9002"), ("", "done")]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def test_texts_without_lines_that_are_too_long_are_one_change():
    old, new = "a " * 20_000 + "a", "b " * 20_000 + "b"
    assert split_edit(old, new) == [Segment("", old, new)]
