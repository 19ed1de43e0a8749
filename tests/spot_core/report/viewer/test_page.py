"""The viewer's file holds every text as data, and nothing in it runs but the viewer's own script."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.report.viewer import page
from spot_core.report.viewer.page import write_viewer
from spot_core.store import ArtifactStore, Recipe
from spot_core.web_page import to_json
from tests.spot_core.rectification.rows import proposal, row
from tests.spot_core.report.viewer.hostile import TEXTS

anything = st.text(st.characters() | st.characters(categories=["Cs", "Cf", "Cc", "Zl", "Zp"]), max_size=30)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and what is inside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.comments = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, data):
        if self.elements and self.cdata_elem:
            self.inside[self.elements[-1][0]][-1] += data

    def handle_comment(self, data):
        self.comments += 1


def artifact_of(tmp_path, rows):
    recipe = Recipe("rectify", {}, {}, 1)
    with ArtifactStore(tmp_path).write(recipe) as writer:
        writer.complete(rows, statistics={})
    return ArtifactStore(tmp_path).get(recipe)


def written(tmp_path, rows, **limits):
    """The file's text, its elements, the entries in it, and what it says about itself."""
    path = tmp_path / "pairs.html"
    shown = write_viewer(path, artifact_of(tmp_path / "store", rows), gamma=0.6, **limits)
    html = path.read_bytes().decode("utf-8")
    elements = Elements(html)
    entries, formulas, about = (json.loads(text) for text in elements.inside["script"][:3])
    assert shown == len(entries) == about["shown"]
    return html, elements, entries, about | {"formulas": dict(formulas)}


def hostile_rows():
    for number, text in enumerate(TEXTS):
        rectified = f"{TEXTS[(number + 1) % len(TEXTS)]} {text}"
        history = [proposal("wrong_answer", oracle=text, reason=text), proposal(oracle=text, attempt=2)]
        yield row(
            number,
            history,
            question=text,
            answer=text,
            response=text,
            rectified=rectified,
            flags=[text],
            reason=text,
        )


def test_hostile_texts_are_data_and_nothing_else(tmp_path):
    html, elements, entries, _ = written(tmp_path, list(hostile_rows()))
    empty = written(tmp_path / "empty", [])[1]
    assert elements.elements == empty.elements, "texts add no element and no attribute"
    assert elements.comments == 0
    kinds = [attributes.get("type") for tag, attributes in elements.elements if tag == "script"]
    assert kinds == ["application/json", "application/json", "application/json", "module"]
    assert html.lower().count("<script") == html.lower().count("</script") == 4
    assert not re.search("[\0\x07\x1b\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\r]", html)
    for entry, made in zip(entries, hostile_rows(), strict=True):
        texts = entry["texts"]
        assert "".join(texts[n] for n in range(len(texts)) if n % 3 != 2) == made["response"]
        assert "".join(texts[n] for n in range(len(texts)) if n % 3 != 1) == made["rectified"]
        assert (entry["question"], entry["gold"], entry["reason"]) == (made["question"],) * 3
        assert entry["history"] == made["history"]


def test_no_attribute_runs_anything_or_names_another_file(tmp_path):
    for tag, attributes in written(tmp_path, [row(0, [proposal()])])[1].elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert not {"src", "href", "srcset", "action", "style"} & attributes.keys(), (tag, attributes)


def test_only_the_viewers_own_script_and_style_may_run(tmp_path):
    _, elements, _, _ = written(tmp_path, [row(0, [proposal()])])
    [policy] = [a["content"] for tag, a in elements.elements if tag == "meta" and "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    for name, text in (("script", elements.inside["script"][3]), ("style", elements.inside["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert set(rules.values()) == {"'none'"}


@given(value=st.recursive(anything, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_json_comes_back_as_it_was_and_has_no_markup(value):
    text = to_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u202e") & set(text)
    text.encode("utf-8")


def test_more_rows_than_the_limit_are_counted_as_not_shown(tmp_path):
    rows = [row(n, [proposal()]) for n in range(50)]
    _, _, entries, about = written(tmp_path, rows, most_rows=20)
    assert (about["rows"], about["shown"]) == (50, 20)
    assert [entry["id"] for entry in entries] == [f"{n:06d}/0" for n in range(20)]


def test_the_size_of_the_page_is_limited(tmp_path):
    rows = [row(n, [proposal()], response="wrong " * 1000, rectified="right " * 1000) for n in range(50)]
    html, _, entries, about = written(tmp_path, rows, most_bytes=200_000)
    assert 10 < len(entries) < 20
    assert about["rows"] == 50
    assert len(html) < 260_000


def test_a_text_that_is_too_long_says_that_it_was_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_CHARACTERS", 1000)
    [entry] = written(tmp_path, [row(0, [proposal()], response="x" * 1234, rectified="y")])[2]
    assert entry["texts"][1].startswith("x" * 1000 + "\n… (234 more characters")


def test_formulas_of_all_texts_are_in_the_page_once(tmp_path):
    rows = [
        row(n, [proposal()], question="$x^2$", answer="\\pi", response="\\(5\\)", rectified="$$7$$")
        for n in range(3)
    ]
    _, _, _, about = written(tmp_path, [*rows, row(3, [proposal("refused")], response="$y^2$ \\unknown")])
    assert about["formulas"].keys() == {"$x^2$", "\\pi", "\\(5\\)", "$$7$$", "$y^2$"}
    assert about["all_formulas"] is True


@pytest.mark.parametrize("status", ["refused", "oracle_error", "pending"])
def test_a_row_without_an_edit_has_its_response(tmp_path, status):
    [entry] = written(tmp_path, [row(0, [proposal(status)])])[2]
    assert entry["texts"] == ["0 + 1 = 0"]
    assert entry["edited"] is False
    assert (entry["ratio"], entry["regions"], entry["prefix"]) == (None, None, None)
